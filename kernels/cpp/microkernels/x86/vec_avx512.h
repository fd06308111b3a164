// float32 vectors of AVX-512F and VL: the operations that the templates of microkernels/ use.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace loopwright {
namespace {  // internal linkage: the linker must not merge this code with a copy compiled for another ISA

struct VecAvx512 {
  using Reg = __m512;
  using Int = __m512i;
  using Mask = __mmask16;
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  static constexpr int kInFlight = 8;       // accumulators that hide the latency of accumulate()
  static constexpr bool kHasHalves = true;  // whether accumulate_half() and FMAs with a float in memory exist
  static constexpr int kProducts = 1;       // products per lane of accumulate()
  static constexpr bool kIntegers = false;  // whether sums are int32
  static constexpr bool kBytes = false;     // whether words consist of bytes
  using Narrow = void;                      // see Brgemm

  static Mask mask(int n) { return static_cast<Mask>((1u << n) - 1); }  // the first n lanes, 0 <= n <= 16
  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg set1(float x) { return _mm512_set1_ps(x); }
  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static Reg load(const float* p, Mask m) { return _mm512_maskz_loadu_ps(m, p); }
  static void store(float* p, Reg x) { _mm512_storeu_ps(p, x); }
  static void store(float* p, Reg x, Mask m) { _mm512_mask_storeu_ps(p, m, x); }
  static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg add_sums(Reg a, Reg b) { return add(a, b); }  // of accumulate()
  static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg fnma(Reg a, Reg b, Reg c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a * b
  // acc += a * b in place. In assembly, because GCC 12 overwrites `a` for some sums and then moves them back.
  static void accumulate(Reg& acc, Reg a, Reg b) { asm("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b)); }
  // The same in the lower half of the lanes, at twice the rate on CPUs that split 512-bit vectors. Clears the upper half.
  static void accumulate_half(Reg& acc, Reg a, Reg b) { asm("vfmadd231ps %t2, %t1, %t0" : "+v"(acc) : "v"(a), "v"(b)); }
  // Both with one float in memory for all lanes.
  static void accumulate(Reg& acc, const float* a, Reg b) {
    asm("vfmadd231ps %1%{1to16%}, %2, %0" : "+v"(acc) : "m"(*a), "v"(b));
  }
  static void accumulate_half(Reg& acc, const float* a, Reg b) {
    asm("vfmadd231ps %1%{1to8%}, %t2, %t0" : "+v"(acc) : "m"(*a), "v"(b));
  }
  // Both return the second operand if either is NaN.
  static Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }
  static Reg min(Reg a, Reg b) { return _mm512_min_ps(a, b); }
  // Returns the larger one, or NaN if either is NaN. In a chain of maxima, pass the previous result as `b`: the test of `a`
  // does not wait for it.
  static Reg max_or_nan(Reg a, Reg b) { return _mm512_mask_max_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b); }
  // Lanes in which no value so far was NaN.
  using Ordered = __mmask16;
  static Ordered all_ordered() { return 0xffff; }
  static Ordered ordered(Ordered so_far, Reg a, Reg b) { return _mm512_mask_cmp_ps_mask(so_far, a, b, _CMP_ORD_Q); }
  static bool all(Ordered lanes) { return lanes == all_ordered(); }
  static Reg abs(Reg x) { return _mm512_castsi512_ps(_mm512_and_epi32(_mm512_castps_si512(x), abs_bits())); }
  static Reg copysign(Reg magnitude, Reg sign) {
    return _mm512_castsi512_ps(
        _mm512_ternarylogic_epi32(abs_bits(), _mm512_castps_si512(magnitude), _mm512_castps_si512(sign), 0xca));
  }
  static Reg round(Reg x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // x * 2^e for integers e.
  static Reg scale(Reg x, Reg e) { return _mm512_scalef_ps(x, e); }
  // Selects a in lanes with x < y, else b.
  static Reg select_lt(Reg x, Reg y, Reg a, Reg b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a);
  }
  static Reg select(Mask m, Reg a, Reg b) { return _mm512_mask_blend_ps(m, b, a); }  // a in the lanes of m, else b
  static Int load_words(const uint32_t* p) { return _mm512_loadu_si512(p); }
  static Int upper_halves(Int words) { return _mm512_srli_epi32(words, 16); }
  // Returns q * 2^kFrom, where q are the kBits bits of each word from bit kFrom on, which must not include the highest one.
  template <int kBits, int kFrom>
  static Reg number(Int words) {
    return _mm512_cvtepi32_ps(_mm512_and_epi32(words, _mm512_set1_epi32(((1 << kBits) - 1) << kFrom)));
  }
  static Reg from_bytes(const uint8_t* p) {  // numbers from 0 to 255
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static float max_lane(Reg x) { return _mm512_reduce_max_ps(x); }
  static float sum(Reg x) { return _mm512_reduce_add_ps(x); }
  // Returns the sums over the lanes of each register, lane i for register i. Adds while it transposes.
  static Reg sums(const Reg (&r)[kLanes]) {
    Reg t[kLanes / 4];
#pragma GCC unroll 4
    for (int i = 0; i < kLanes / 4; ++i) {
      const Reg low = add_pairs(r[4 * i], r[4 * i + 1]), high = add_pairs(r[4 * i + 2], r[4 * i + 3]);
      t[i] = add(unpack_low(low, high), unpack_high(low, high));
    }
    return add_quarters(add_quarters(t[0], t[1]), add_quarters(t[2], t[3]));
  }
  // Moves lane j of register i to lane i of register j: by pairs of rows, groups of four, quarters of registers.
  static void transpose(Reg (&r)[kLanes]) {
    Reg t[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kLanes; i += 4) {
      r[i] = unpack_low(t[i], t[i + 2]);
      r[i + 1] = unpack_high(t[i], t[i + 2]);
      r[i + 2] = unpack_low(t[i + 1], t[i + 3]);
      r[i + 3] = unpack_high(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      constexpr int kEven = 0x88, kOdd = 0xdd;  // quarters 0 and 2, and 1 and 3, of both operands
      const Reg even[2] = {_mm512_shuffle_f32x4(r[i], r[4 + i], kEven),
                           _mm512_shuffle_f32x4(r[8 + i], r[12 + i], kEven)};
      const Reg odd[2] = {_mm512_shuffle_f32x4(r[i], r[4 + i], kOdd), _mm512_shuffle_f32x4(r[8 + i], r[12 + i], kOdd)};
      t[i] = _mm512_shuffle_f32x4(even[0], even[1], kEven);
      t[4 + i] = _mm512_shuffle_f32x4(odd[0], odd[1], kEven);
      t[8 + i] = _mm512_shuffle_f32x4(even[0], even[1], kOdd);
      t[12 + i] = _mm512_shuffle_f32x4(odd[0], odd[1], kOdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) r[i] = t[i];
  }

 private:
  static Reg add_pairs(Reg a, Reg b) { return add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)); }
  // Returns the sums of quarters 0 and 1 and of quarters 2 and 3, of a and then of b.
  static Reg add_quarters(Reg a, Reg b) {
    return add(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  static Reg unpack_low(Reg a, Reg b) {  // of pairs of floats
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  static Reg unpack_high(Reg a, Reg b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  static Int abs_bits() { return _mm512_set1_epi32(0x7fffffff); }
};

}  // namespace
}  // namespace loopwright
