// VecAvx512 with four bytes as words: unsigned ones in A, signed ones in B. VPDPBUSD adds four products per lane in int32,
// without saturation.
//
// Only its last operand, the signed one, may be broadcast from memory, so words of A are broadcast to registers.
#pragma once

#include <cstdint>

#include "microkernels/brgemm.h"
#include "microkernels/x86/vec_avx512.h"

namespace loopwright {
namespace {

struct VecInt8Avx512 : VecAvx512 {
  static constexpr int kInFlight = 12;  // a latency of 5 cycles with two instructions per cycle takes 10
  static constexpr int kProducts = 4;
  static constexpr bool kIntegers = true;
  static constexpr bool kBytes = true;
  using Element = uint8_t;
  using Narrow = uint8_t;

  static void accumulate(Reg& acc, Reg a, Reg b) { asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b)); }
  static void accumulate_half(Reg& acc, Reg a, Reg b) { asm("vpdpbusd %t2, %t1, %t0" : "+v"(acc) : "v"(a), "v"(b)); }
  static Reg add_sums(Reg a, Reg b) { return floats(_mm512_add_epi32(integers(a), integers(b))); }
  static Reg subtract_sums(Reg a, Reg b) { return floats(_mm512_sub_epi32(integers(a), integers(b))); }
  static Reg product(const int32_t* p, int32_t factor) {
    return floats(_mm512_mullo_epi32(_mm512_loadu_si512(p), _mm512_set1_epi32(factor)));
  }
  static Reg to_float(Reg sum) { return _mm512_cvtepi32_ps(integers(sum)); }
  static Reg from_bytes(const uint8_t* p, bool is_signed) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(is_signed ? _mm512_cvtepi8_epi32(bytes) : _mm512_cvtepu8_epi32(bytes));
  }

  // See VecInt8Avx2.
  struct NarrowReader {
    Reg scale;
    __m512i zero;
    __m128i sign;

    explicit NarrowReader(const TileIntegers& from)
        : scale(set1(from.scale)),
          zero(_mm512_set1_epi32(from.zero_point)),
          sign(_mm_set1_epi8(static_cast<char>(from.sign))) {}

    Reg add(Reg x, const uint8_t* p) const { return sum(x, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
    Reg add(Reg x, const uint8_t* p, Mask m) const { return sum(x, _mm_maskz_loadu_epi8(m, p)); }

   private:
    Reg sum(Reg x, __m128i bytes) const {
      const __m512i whole = _mm512_cvtepu8_epi32(_mm_xor_si128(bytes, sign));
      return fma(_mm512_cvtepi32_ps(_mm512_sub_epi32(whole, zero)), scale, x);
    }
  };
  struct NarrowWriter {
    Reg steps, lo, hi;
    __m512i zero;
    __m128i sign;

    explicit NarrowWriter(const TileRounding& to)
        : steps(set1(to.steps)),
          lo(set1(to.lo)),
          hi(set1(to.hi)),
          zero(_mm512_set1_epi32(to.zero_point)),
          sign(_mm_set1_epi8(static_cast<char>(to.sign))) {}

    void store(uint8_t* p, Reg x, Reg y) const {
      store_whole(p, x);
      store_whole(p + kLanes, y);
    }
    void store(uint8_t* p, Reg x, Reg y, Mask m) const {
      store_whole(p, x);
      store(p + kLanes, y, m);
    }
    void store(uint8_t* p, Reg x, Mask m) const { _mm_mask_storeu_epi8(p, m, bytes(x)); }

   private:
    void store_whole(uint8_t* p, Reg x) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes(x)); }
    // NaN becomes the least.
    __m128i bytes(Reg x) const {
      const Reg inside = min(hi, max(mul(x, steps), lo));
      const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(inside), zero);  // 0 to 255
      return _mm_xor_si128(_mm512_cvtepi32_epi8(whole), sign);
    }
  };

  // See VecInt8Avx2. The offset turns signed bytes into unsigned ones.
  static void store_elements(Element* to, const uint8_t* from, bool /*is_signed*/, int offset) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_add_epi8(bytes, _mm_set1_epi8(static_cast<char>(offset))));
  }
  static void store_elements(Element* to, Reg x, Reg y, int offset) {
    store_bytes(to, x, offset);
    store_bytes(to + kLanes, y, offset);
  }

 private:
  static void store_bytes(Element* to, Reg x, int offset) {
    const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(offset));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(whole));
  }
  static __m512i integers(Reg x) { return _mm512_castps_si512(x); }
  static Reg floats(__m512i x) { return _mm512_castsi512_ps(x); }
};

}  // namespace
}  // namespace loopwright
