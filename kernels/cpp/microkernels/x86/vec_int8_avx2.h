// VecAvx2 with pairs of int16 as words of A and B, which hold 8-bit integers without their zero points. accumulate() adds two
// products per lane in int32. They are exact: VPMADDUBSW, which multiplies bytes, saturates sums of two products at 16 bits.
//
// Ports: VPMADDWD has two and VPADDD three or four, so a step of k takes as long as with floats, and has twice the products.
#pragma once

#include <cstdint>
#include <cstring>

#include "microkernels/brgemm.h"
#include "microkernels/vector_access.h"
#include "microkernels/x86/vec_avx2.h"

namespace loopwright {
namespace {

struct VecInt8Avx2 : VecAvx2 {
  static constexpr int kInFlight = 2;
  static constexpr int kProducts = 2;
  static constexpr bool kIntegers = true;
  using Element = int16_t;  // of a word
  using Narrow = uint8_t;

  // In one piece of assembly, because GCC would move the products of a loop over equal factors out of it.
  static void accumulate(Reg& acc, Reg a, Reg b) {
    Reg product;
    asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(product) : "x"(a), "x"(b));
  }
  static Reg add_sums(Reg a, Reg b) { return floats(_mm256_add_epi32(integers(a), integers(b))); }
  static Reg subtract_sums(Reg a, Reg b) { return floats(_mm256_sub_epi32(integers(a), integers(b))); }
  static Reg quarter(Reg sum) { return floats(_mm256_srai_epi32(integers(sum), 2)); }
  // Words as pairs of int16.
  static Int load_words(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const Int*>(p)); }
  static void store_words(float* p, Int x) { _mm256_storeu_si256(reinterpret_cast<Int*>(p), x); }
  static Int add_halves(Int a, Int b) { return _mm256_add_epi16(a, b); }
  static Int subtract_halves(Int a, Int b) { return _mm256_sub_epi16(a, b); }
  static Reg to_float(Reg sum) { return _mm256_cvtepi32_ps(integers(sum)); }
  static Reg from_bytes(const uint8_t* p, bool is_signed) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(is_signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes));
  }

  // Bytes of 32 channels.
  static constexpr int64_t kByteLanes = 32;
  static Int bytes_of(uint8_t byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
  static Int load_bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const Int*>(p)); }
  static void store_bytes(uint8_t* p, Int x) { _mm256_storeu_si256(reinterpret_cast<Int*>(p), x); }
  template <bool kSigned>
  static Int max_bytes(Int a, Int b) {
    return kSigned ? _mm256_max_epi8(a, b) : _mm256_max_epu8(a, b);
  }

  // Rows of 8-bit integers in the epilogue of a tile. The mask applies to the last vector.
  struct NarrowReader {
    Reg scale;
    Int zero;
    __m128i sign;

    explicit NarrowReader(const TileIntegers& from)
        : scale(set1(from.scale)),
          zero(_mm256_set1_epi32(from.zero_point)),
          sign(_mm_set1_epi8(static_cast<char>(from.sign))) {}

    Reg add(Reg x, const uint8_t* p) const { return sum(x, _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }
    Reg add(Reg x, const uint8_t* p, Mask m) const {
      const int n = lanes(m);
      if (n == kLanes) return add(x, p);
      uint64_t bytes = 0;
      std::memcpy(&bytes, p, static_cast<size_t>(n));
      return sum(x, _mm_cvtsi64_si128(static_cast<int64_t>(bytes)));
    }

   private:
    Reg sum(Reg x, __m128i bytes) const {
      const Int whole = _mm256_cvtepu8_epi32(_mm_xor_si128(bytes, sign));
      return fma(_mm256_cvtepi32_ps(_mm256_sub_epi32(whole, zero)), scale, x);
    }
  };
  struct NarrowWriter {
    Reg hi;
    Int zero;
    __m128i sign;

    explicit NarrowWriter(const TileRounding& to)
        : hi(set1(to.hi)),
          zero(_mm256_set1_epi16(static_cast<int16_t>(to.zero_point))),
          sign(_mm_set1_epi8(static_cast<char>(to.sign))) {}

    template <int NV>
    void store_row(uint8_t* p, const Reg (&x)[NV], Mask last) const {
      store_in_pairs<VecInt8Avx2>(*this, p, x, last);
    }
    void store(uint8_t* p, Reg x, Reg y) const {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes(rounded(x), rounded(y)));
    }
    void store(uint8_t* p, Reg x, Reg y, Mask m) const {
      if (lanes(m) == kLanes) return store(p, x, y);
      _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes(rounded(x), rounded(x)));
      store(p + kLanes, y, m);
    }
    void store(uint8_t* p, Reg x, Mask m) const {
      const Int whole = rounded(x);
      const __m128i all = bytes(whole, whole);
      const int n = lanes(m);
      if (n == kLanes) return _mm_storel_epi64(reinterpret_cast<__m128i*>(p), all);
      const int64_t low = _mm_cvtsi128_si64(all);
      std::memcpy(p, &low, static_cast<size_t>(n));
    }

   private:
    // NaN, and what is less than all integers of 32 bits, becomes the least of them, and packing saturates.
    Int rounded(Reg x) const { return _mm256_cvtps_epi32(min(hi, x)); }
    // Packs the lanes of x, then those of y.
    __m128i bytes(Int x, Int y) const {
      const Int pairs = _mm256_adds_epi16(_mm256_packs_epi32(x, y), zero);  // x0..3 y0..3 | x4..7 y4..7
      const Int packed = _mm256_packus_epi16(pairs, pairs);
      const Int in_order = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
      return _mm_xor_si128(_mm256_castsi256_si128(in_order), sign);
    }
  };

  // Store 16 elements of words: integers plus an offset, or lanes that are rounded to integers.
  static void store_elements(Element* to, const uint8_t* from, bool is_signed, int offset) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    const Int whole = is_signed ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
    _mm256_storeu_si256(reinterpret_cast<Int*>(to),
                        _mm256_add_epi16(whole, _mm256_set1_epi16(static_cast<int16_t>(offset))));
  }
  static void store_elements(Element* to, Reg x, Reg y, int /*offset*/) {
    const Int packed = _mm256_packs_epi32(_mm256_cvtps_epi32(x), _mm256_cvtps_epi32(y));  // x0..3 y0..3 | x4..7 y4..7
    _mm256_storeu_si256(reinterpret_cast<Int*>(to), _mm256_permute4x64_epi64(packed, 0xd8));
  }

 private:
  static int lanes(Mask m) {
    return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(m))));
  }
  static Int integers(Reg x) { return _mm256_castps_si256(x); }
  static Reg floats(Int x) { return _mm256_castsi256_ps(x); }
};

}  // namespace
}  // namespace loopwright
