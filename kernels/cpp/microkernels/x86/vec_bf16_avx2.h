// VecAvx2 with pairs of bfloat16 as words of A and B: accumulate() adds two products per lane, as two FMAs of float32.
//
// A bfloat16 is the upper half of a float32, so a word becomes two floats by a shift and a mask. The compiler splits each word once
// per step: 2 * (MR + NV) instructions next to 2 * MR * NV FMAs, on ports that FMAs leave free. A step needs registers for both
// halves of a row of B and of a float of A: MR * NV + 2 * NV + 2.
#pragma once

#include "loopwright/dtype.h"
#include "microkernels/tile_epilogue.h"
#include "microkernels/vector_access.h"
#include "microkernels/x86/vec_avx2.h"

namespace loopwright {
namespace {

struct VecBf16Avx2 : VecAvx2 {
  static constexpr int kProducts = 2;
  using Narrow = Bfloat16;
  using Floats = VecAvx2;

  static void accumulate(Reg& acc, Reg a, Reg b) {
    VecAvx2::accumulate(acc, first(a), first(b));
    VecAvx2::accumulate(acc, second(a), second(b));
  }

  // Rows of bfloat16 in the epilogue of a tile. The mask applies to the last vector.
  struct NarrowReader {
    explicit NarrowReader(const TileIntegers& /*unused*/) {}
    static Reg add(Reg x, const Bfloat16* p) { return VecAvx2::add(x, load(p)); }
    static Reg add(Reg x, const Bfloat16* p, Mask m) { return VecAvx2::add(x, load(p, m)); }
  };
  struct NarrowWriter {
    explicit NarrowWriter(const TileRounding& /*unused*/) {}
    template <int NV>
    void store_row(Bfloat16* p, const Reg (&x)[NV], Mask last) const {
      store_in_pairs<VecBf16Avx2>(*this, p, x, last);
    }
    static void store(Bfloat16* p, Reg x, Mask m) { VecBf16Avx2::store(p, x, m); }
    static void store(Bfloat16* p, Reg x, Reg y) {
      VecBf16Avx2::store(p, x);
      VecBf16Avx2::store(p + kLanes, y);
    }
    static void store(Bfloat16* p, Reg x, Reg y, Mask m) {
      VecBf16Avx2::store(p, x);
      VecBf16Avx2::store(p + kLanes, y, m);
    }
  };

  static Reg load(const float* p) { return VecAvx2::load(p); }
  static Reg load(const float* p, Mask m) { return VecAvx2::load(p, m); }
  static void store(float* p, Reg x) { VecAvx2::store(p, x); }
  static void store(float* p, Reg x, Mask m) { VecAvx2::store(p, x, m); }
  // Convert to float32 on load, and back to nearest with ties to even on store.
  static Reg load(const Bfloat16* p) { return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static Reg load(const Bfloat16* p, Mask m) {
    Bfloat16 part[kLanes] = {};
    for (int i = 0; i < count(m); ++i) part[i] = p[i];
    return load(part);
  }
  static void store(Bfloat16* p, Reg x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(x)); }
  static void store(Bfloat16* p, Reg x, Mask m) {
    Bfloat16 part[kLanes];
    store(part, x);
    for (int i = 0; i < count(m); ++i) p[i] = part[i];
  }

 private:
  static Reg first(Reg words) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(words), 16)); }
  static Reg second(Reg words) {
    return _mm256_and_ps(words, _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static int count(Mask m) {
    return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(m))));
  }
  static Reg widen(__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); }
  static __m128i narrow(Reg x) {
    const Int bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const Int rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    // Rounding would turn some NaN into infinity or zero.
    const Int quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    const Int is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const Int upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
  }
};

}  // namespace
}  // namespace loopwright
