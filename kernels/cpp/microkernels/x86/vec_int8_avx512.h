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

   private:
    Reg sum(Reg x, __m128i bytes) const {
      const __m512i whole = _mm512_cvtepu8_epi32(_mm_xor_si128(bytes, sign));
      return fma(_mm512_cvtepi32_ps(_mm512_sub_epi32(whole, zero)), scale, x);
    }
  };
  struct NarrowWriter {
    Reg steps, hi;
    __m512i zero, sign;

    explicit NarrowWriter(const TileRounding& to)
        : steps(set1(to.steps)),
          hi(set1(to.hi)),
          zero(_mm512_set1_epi16(static_cast<int16_t>(to.zero_point))),
          sign(_mm512_set1_epi8(static_cast<char>(to.sign))) {}

    void store(uint8_t* p, Reg x, Mask m) const { _mm_mask_storeu_epi8(p, m, _mm512_castsi512_si128(packed(x, x, x, x))); }

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
    // Stores a vector in each of C pixels.
    template <bool kWhole, int C>
    void store_pixels(uint8_t* p, int64_t step, const Reg (&x)[C], Mask m) const {
#pragma GCC unroll 4
      for (int j = 0; j < C; j += 4) {
        const auto at = [&](int i) { return x[j + i < C ? j + i : j]; };
        const __m512i four = packed(at(0), at(1), at(2), at(3));
        store_pixel<kWhole>(p + j * step, _mm512_castsi512_si128(four), m);
        if (j + 1 < C) store_pixel<kWhole>(p + (j + 1) * step, _mm512_extracti32x4_epi32(four, 1), m);
        if (j + 2 < C) store_pixel<kWhole>(p + (j + 2) * step, _mm512_extracti32x4_epi32(four, 2), m);
        if (j + 3 < C) store_pixel<kWhole>(p + (j + 3) * step, _mm512_extracti32x4_epi32(four, 3), m);
      }
    }

   private:
    template <bool kWhole>
    static void store_pixel(uint8_t* p, __m128i bytes, Mask m) {
      if constexpr (kWhole) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
      } else {
        _mm_mask_storeu_epi8(p, m, bytes);
      }
    }
    // NaN, and what is less than all integers of 32 bits, becomes the least of them, and packing saturates.
    __m512i rounded(Reg x) const { return _mm512_cvtps_epi32(min(hi, mul(x, steps))); }
    // Returns the bytes of four vectors, one after the other. Packs in the quarters of registers.
    __m512i packed(Reg a, Reg b, Reg c, Reg d) const {
      const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(rounded(a), rounded(b)), zero);
      const __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(rounded(c), rounded(d)), zero);
      const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      return _mm512_xor_si512(_mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd)), sign);
    }
  };

  // Bytes of A in depthwise convolutions: the bytes of 16 channels at p, each in byte kPlace of its lane, and zeros in the other
  // bytes. Reads the first `count` bytes unless all.
  template <bool kWhole, int kPlace>
  static Int in_lanes(const uint8_t* p, int count) {
    return _mm512_maskz_shuffle_epi8(kFirstBytes << kPlace, in_quarters<kWhole>(p, count), lane_bytes());
  }
  // The same added to words that have zeros there.
  template <bool kWhole, int kPlace>
  static Int add_in_lanes(Int words, const uint8_t* p, int count) {
    return _mm512_mask_shuffle_epi8(words, kFirstBytes << kPlace, in_quarters<kWhole>(p, count), lane_bytes());
  }
  static Int words_of(uint8_t byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
  static Int exclusive_or(Int a, Int b) { return _mm512_xor_si512(a, b); }
  static Reg sums_of(Int words) { return floats(words); }

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
  static constexpr uint64_t kFirstBytes = 0x1111111111111111;  // of each lane
  // The index of its lane in the bytes of a quarter, in each byte of the lane.
  static __m512i lane_bytes() {
    return _mm512_setr_epi32(0x00000000, 0x01010101, 0x02020202, 0x03030303, 0x04040404, 0x05050505, 0x06060606,
                             0x07070707, 0x08080808, 0x09090909, 0x0a0a0a0a, 0x0b0b0b0b, 0x0c0c0c0c, 0x0d0d0d0d,
                             0x0e0e0e0e, 0x0f0f0f0f);
  }
  // Returns 16 bytes in each quarter.
  template <bool kWhole>
  static __m512i in_quarters(const uint8_t* p, int count) {
    if constexpr (kWhole) {
      return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    } else {
      return _mm512_broadcast_i32x4(_mm_maskz_loadu_epi8(mask(count), p));
    }
  }
  static __m512i integers(Reg x) { return _mm512_castps_si512(x); }
  static Reg floats(__m512i x) { return _mm512_castsi512_ps(x); }
};

}  // namespace
}  // namespace loopwright
