// float32 vectors of AVX2 and FMA: the operations that the templates of microkernels/ use.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace loopwright {
namespace {  // internal linkage: the linker must not merge this code with a copy compiled for another ISA

struct VecAvx2 {
  using Reg = __m256;
  using Int = __m256i;
  using Mask = __m256i;
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  static constexpr int kInFlight = 8;        // accumulators that hide the latency of accumulate()
  static constexpr bool kHasHalves = false;  // see VecAvx512
  static constexpr int kProducts = 1;        // products per lane of accumulate()
  static constexpr bool kIntegers = false;   // whether sums are int32
  static constexpr bool kBytes = false;      // whether words consist of bytes
  using Narrow = void;                       // see Brgemm

  static Mask mask(int n) {  // the first n lanes, 0 <= n <= 8
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Reg zero() { return _mm256_setzero_ps(); }
  static Reg set1(float x) { return _mm256_set1_ps(x); }
  static Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static Reg load(const float* p, Mask m) { return _mm256_maskload_ps(p, m); }
  static void store(float* p, Reg x) { _mm256_storeu_ps(p, x); }
  // In parts, because VMASKMOVPS to memory takes 42 micro-operations on Zen 3. They are three branches, which tiles repeat.
  static void store(float* p, Reg x, Mask m) {
    const int n = __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(m))));
    if (n == kLanes) return store(p, x);
    __m128 part = _mm256_castps256_ps128(x);
    if (n & 4) {
      _mm_storeu_ps(p, part);
      part = _mm256_extractf128_ps(x, 1);
      p += 4;
    }
    if (n & 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(p), part);
      part = _mm_movehl_ps(part, part);
      p += 2;
    }
    if (n & 1) _mm_store_ss(p, part);
  }
  static Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg add_sums(Reg a, Reg b) { return add(a, b); }  // of accumulate()
  static Reg sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static Reg fnma(Reg a, Reg b, Reg c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a * b
  // acc += a * b in place. In assembly, because GCC 12 overwrites `a` for some sums and then moves them back.
  static void accumulate(Reg& acc, Reg a, Reg b) { asm("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b)); }
  // Both return the second operand if either is NaN.
  static Reg max(Reg a, Reg b) { return _mm256_max_ps(a, b); }
  static Reg min(Reg a, Reg b) { return _mm256_min_ps(a, b); }
  // Returns the larger one, or NaN if either is NaN. In a chain of maxima, pass the previous result as `b`: the test of `a`
  // does not wait for it.
  static Reg max_or_nan(Reg a, Reg b) { return _mm256_blendv_ps(max(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q)); }
  // Lanes in which no value so far was NaN.
  using Ordered = Reg;
  static Ordered all_ordered() { return _mm256_castsi256_ps(_mm256_set1_epi32(-1)); }
  static Ordered ordered(Ordered so_far, Reg a, Reg b) {
    return _mm256_and_ps(so_far, _mm256_cmp_ps(a, b, _CMP_ORD_Q));
  }
  static bool all(Ordered lanes) { return _mm256_movemask_ps(lanes) == 0xff; }
  static Reg abs(Reg x) { return _mm256_and_ps(x, abs_bits()); }
  static Reg copysign(Reg magnitude, Reg sign) {
    return _mm256_or_ps(_mm256_and_ps(abs_bits(), magnitude), _mm256_andnot_ps(abs_bits(), sign));
  }
  static Reg round(Reg x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // x * 2^e for integers e in -252..254. In two steps, so that neither power leaves the range of float32 and the result may
  // be subnormal.
  static Reg scale(Reg x, Reg e) {
    const Int whole = _mm256_cvtps_epi32(e);
    const Int half = _mm256_srai_epi32(whole, 1);
    return mul(mul(x, power_of_two(half)), power_of_two(_mm256_sub_epi32(whole, half)));
  }
  // Selects a in lanes with x < y, else b.
  static Reg select_lt(Reg x, Reg y, Reg a, Reg b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ)); }
  static Reg select(Mask m, Reg a, Reg b) {  // a in the lanes of m, else b
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(m));
  }
  static Int load_words(const uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Int upper_halves(Int words) { return _mm256_srli_epi32(words, 16); }
  // Returns q * 2^kFrom, where q are the kBits bits of each word from bit kFrom on, which must not include the highest one.
  template <int kBits, int kFrom>
  static Reg number(Int words) {
    return _mm256_cvtepi32_ps(_mm256_and_si256(words, _mm256_set1_epi32(((1 << kBits) - 1) << kFrom)));
  }
  static Reg from_bytes(const uint8_t* p) {  // numbers from 0 to 255
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static float max_lane(Reg x) {
    const __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)));
  }
  static float sum(Reg x) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
  }
  // Returns the sums over the lanes of each register, lane i for register i. Adds while it transposes.
  static Reg sums(const Reg (&r)[kLanes]) {
    Reg t[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const Reg low = add_pairs(r[4 * i], r[4 * i + 1]), high = add_pairs(r[4 * i + 2], r[4 * i + 3]);
      t[i] = add(unpack_low(low, high), unpack_high(low, high));
    }
    return add(_mm256_permute2f128_ps(t[0], t[1], 0x20), _mm256_permute2f128_ps(t[0], t[1], 0x31));
  }
  // Moves lane j of register i to lane i of register j: by pairs of rows, groups of four, halves of registers.
  static void transpose(Reg (&r)[kLanes]) {
    Reg t[kLanes];
#pragma GCC unroll 4
    for (int i = 0; i < kLanes; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < kLanes; i += 4) {
      r[i] = unpack_low(t[i], t[i + 2]);
      r[i + 1] = unpack_high(t[i], t[i + 2]);
      r[i + 2] = unpack_low(t[i + 1], t[i + 3]);
      r[i + 3] = unpack_high(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Reg low = r[i], high = r[4 + i];
      r[i] = _mm256_permute2f128_ps(low, high, 0x20);
      r[4 + i] = _mm256_permute2f128_ps(low, high, 0x31);
    }
  }

 private:
  static Reg add_pairs(Reg a, Reg b) { return add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)); }
  static Reg unpack_low(Reg a, Reg b) {  // of pairs of floats
    return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
  }
  static Reg unpack_high(Reg a, Reg b) {
    return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
  }
  static Reg abs_bits() { return _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)); }
  static Reg power_of_two(Int e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  }
};

}  // namespace
}  // namespace loopwright
