// VecAvx512 with pairs of bfloat16 as words of A and B: accumulate() adds two products per lane.
#pragma once

#include "loopwright/dtype.h"
#include "microkernels/brgemm.h"
#include "microkernels/vector_access.h"
#include "microkernels/x86/vec_avx512.h"

namespace loopwright {
namespace {

struct VecBf16Avx512 : VecAvx512 {
  static constexpr int kInFlight = 12;
  static constexpr int kProducts = 2;
  using Narrow = Bfloat16;
  using Floats = VecAvx512;

  static void accumulate(Reg& acc, Reg a, Reg b) { asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b)); }
  static void accumulate_half(Reg& acc, Reg a, Reg b) { asm("vdpbf16ps %t2, %t1, %t0" : "+v"(acc) : "v"(a), "v"(b)); }
  static void accumulate(Reg& acc, const float* a, Reg b) {
    asm("vdpbf16ps %1%{1to16%}, %2, %0" : "+v"(acc) : "m"(*a), "v"(b));
  }
  static void accumulate_half(Reg& acc, const float* a, Reg b) {
    asm("vdpbf16ps %1%{1to8%}, %t2, %t0" : "+v"(acc) : "m"(*a), "v"(b));
  }

  // Rows of bfloat16 in the epilogue of a tile. The mask applies to the last vector.
  struct NarrowReader {
    explicit NarrowReader(const TileIntegers& /*unused*/) {}
    static Reg add(Reg x, const Bfloat16* p) { return VecAvx512::add(x, load(p)); }
    static Reg add(Reg x, const Bfloat16* p, Mask m) { return VecAvx512::add(x, load(p, m)); }
  };
  struct NarrowWriter {
    explicit NarrowWriter(const TileRounding& /*unused*/) {}
    template <int NV>
    void store_row(Bfloat16* p, const Reg (&x)[NV], Mask last) const {
      store_in_pairs<VecBf16Avx512>(*this, p, x, last);
    }
    static void store(Bfloat16* p, Reg x, Mask m) { VecBf16Avx512::store(p, x, m); }
    static void store(Bfloat16* p, Reg x, Reg y) { VecBf16Avx512::store(p, x, y); }
    static void store(Bfloat16* p, Reg x, Reg y, Mask m) { VecBf16Avx512::store(p, x, y, m); }
  };

  static Reg load(const float* p) { return VecAvx512::load(p); }
  static Reg load(const float* p, Mask m) { return VecAvx512::load(p, m); }
  static void store(float* p, Reg x) { VecAvx512::store(p, x); }
  static void store(float* p, Reg x, Mask m) { VecAvx512::store(p, x, m); }
  // Convert to float32 on load, and back to nearest with ties to even on store. Stores flush subnormal numbers to zero.
  static Reg load(const Bfloat16* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  static Reg load(const Bfloat16* p, Mask m) { return widen(_mm256_maskz_loadu_epi16(m, p)); }
  // Loads the lanes of `from` in their order to those of `to`, which are as many, with zeros between them.
  static Reg load_expanded(const float* p, Mask from, Mask to) {
    return _mm512_maskz_expand_ps(to, _mm512_maskz_loadu_ps(from, p));
  }
  static void store(Bfloat16* p, Reg x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(x)); }
  // The mask applies to y.
  static void store(Bfloat16* p, Reg x, Reg y) { _mm512_storeu_si512(p, narrow(x, y)); }
  static void store(Bfloat16* p, Reg x, Reg y, Mask m) {
    _mm512_mask_storeu_epi16(p, static_cast<__mmask32>(m) << kLanes | 0xffffu, narrow(x, y));
  }
  static void store(Bfloat16* p, Reg x, Mask m) { _mm256_mask_storeu_epi16(p, m, narrow(x)); }

 private:
  static Reg widen(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
  static __m512i narrow(Reg x, Reg y) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(y, x)); }
  static __m256i narrow(Reg x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }
};

}  // namespace
}  // namespace loopwright
