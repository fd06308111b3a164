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
    // Adds the bytes of 64 channels to vectors in the order of interleave().
    void add_block(Reg (&x)[4], Int bytes) const {
      Reg words[4];
      interleave({_mm512_xor_si512(bytes, _mm512_broadcast_i32x4(sign)), no_bytes(), no_bytes(), no_bytes()}, words);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) x[v] = from_words(x[v], integers(words[v]));
    }

   private:
    Reg from_words(Reg x, __m512i whole) const {
      return fma(_mm512_cvtepi32_ps(_mm512_sub_epi32(whole, zero)), scale, x);
    }
    Reg sum(Reg x, __m128i bytes) const { return from_words(x, _mm512_cvtepu8_epi32(_mm_xor_si128(bytes, sign))); }
  };
  struct NarrowWriter {
    Reg hi;
    __m512i zero, sign;

    explicit NarrowWriter(const TileRounding& to)
        : hi(set1(to.hi)),
          zero(_mm512_set1_epi16(static_cast<int16_t>(to.zero_point))),
          sign(_mm512_set1_epi8(static_cast<char>(to.sign))) {}

    void store(uint8_t* p, Reg x, Mask m) const {
      _mm_mask_storeu_epi8(p, m, _mm512_castsi512_si128(packed(x, x, x, x)));
    }

    // Stores NV vectors, the lanes of the mask of the last one.
    template <int NV>
    void store_row(uint8_t* p, const Reg (&x)[NV], Mask last) const {
      constexpr int kWhole = (NV - 1) / 4 * 4;
#pragma GCC unroll 2
      for (int j = 0; j < kWhole; j += 4)
        _mm512_storeu_si512(p + j * kLanes, packed(x[j], x[j + 1], x[j + 2], x[j + 3]));
      constexpr int kRest = NV - kWhole;
      const auto at = [&](int j) { return x[kWhole + (j < kRest ? j : 0)]; };
      const __m512i rest = packed(at(0), at(1), at(2), at(3));
      p += kWhole * kLanes;
      if (last != mask(kLanes)) {
        const uint64_t lanes = uint64_t{last} << (kRest - 1) * kLanes | ((uint64_t{1} << (kRest - 1) * kLanes) - 1);
        _mm512_mask_storeu_epi8(p, lanes, rest);
      } else if constexpr (kRest == 4) {
        _mm512_storeu_si512(p, rest);
      } else {
        if constexpr (kRest > 1) _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(rest));
        if constexpr (kRest == 1) _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_castsi512_si128(rest));
        if constexpr (kRest == 3)
          _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 2 * kLanes), _mm512_extracti32x4_epi32(rest, 2));
      }
    }
    // Returns the bytes of vectors in the order of interleave(), channel by channel.
    Int block(const Reg (&x)[4]) const { return quarters(x[0], x[1], x[2], x[3]); }

   private:
    // NaN, and what is less than all integers of 32 bits, becomes the least of them, and packing saturates.
    __m512i rounded(Reg x) const { return _mm512_cvtps_epi32(min(hi, x)); }
    // Returns the bytes of four vectors, those of each quarter of the registers together.
    __m512i quarters(Reg a, Reg b, Reg c, Reg d) const {
      const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(rounded(a), rounded(b)), zero);
      const __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(rounded(c), rounded(d)), zero);
      return _mm512_xor_si512(_mm512_packus_epi16(ab, cd), sign);
    }
    // The same, one vector after the other.
    __m512i packed(Reg a, Reg b, Reg c, Reg d) const {
      const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      return _mm512_permutexvar_epi32(order, quarters(a, b, c, d));
    }
  };

  // Bytes of 64 channels.
  static constexpr int64_t kByteLanes = 64;
  template <bool kSigned>
  static Int max_bytes(Int a, Int b) {
    return kSigned ? _mm512_max_epi8(a, b) : _mm512_max_epu8(a, b);
  }
  using BytesMask = __mmask64;
  static BytesMask bytes_mask(int64_t n) { return (uint64_t{1} << n) - 1; }  // 0 <= n < 64
  static Int no_bytes() { return _mm512_setzero_si512(); }
  static Int bytes_of(uint8_t byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
  static Int load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static Int load_bytes(const uint8_t* p, BytesMask m) { return _mm512_maskz_loadu_epi8(m, p); }
  static void store_bytes(uint8_t* p, Int x) { _mm512_storeu_si512(p, x); }
  static void store_bytes(uint8_t* p, Int x, BytesMask m) { _mm512_mask_storeu_epi8(p, m, x); }
  static Int exclusive_or(Int a, Int b) { return _mm512_xor_si512(a, b); }
  // Byte i of word j of vector v is that of channel 16·(j / 4) + 4·v + j % 4 in rows[i].
  static void interleave(const Int (&rows)[4], Reg (&words)[4]) {
    const Int low = _mm512_unpacklo_epi8(rows[0], rows[1]), low2 = _mm512_unpacklo_epi8(rows[2], rows[3]);
    const Int high = _mm512_unpackhi_epi8(rows[0], rows[1]), high2 = _mm512_unpackhi_epi8(rows[2], rows[3]);
    words[0] = floats(_mm512_unpacklo_epi16(low, low2));
    words[1] = floats(_mm512_unpackhi_epi16(low, low2));
    words[2] = floats(_mm512_unpacklo_epi16(high, high2));
    words[3] = floats(_mm512_unpackhi_epi16(high, high2));
  }
  // accumulate() with weights in memory.
  static void accumulate_packed(Reg& acc, Reg a, const float* b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "m"(*reinterpret_cast<const Reg*>(b)));
  }

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
