// Rows of bfloat16 to float32 and back, on AVX-512.
#pragma once

#include <immintrin.h>

#include "loopwright/dtype.h"

namespace loopwright {
namespace {

constexpr int kRowLanes = 16;

void widen_rows(const Bfloat16* from, int64_t from_stride, float* to, int64_t to_stride, int rows, int n) {
  for (int i = 0; i < rows; ++i, from += from_stride, to += to_stride)
    for (int j = 0; j < n; j += kRowLanes) {
      const auto mask = static_cast<__mmask16>(n - j < kRowLanes ? (1u << (n - j)) - 1 : 0xffffu);
      const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from + j));
      _mm512_mask_storeu_ps(to + j, mask, _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)));
    }
}

// To nearest, ties to even; subnormal numbers become zero.
void narrow_rows(const float* from, int64_t from_stride, Bfloat16* to, int64_t to_stride, int rows, int n) {
  for (int i = 0; i < rows; ++i, from += from_stride, to += to_stride)
    for (int j = 0; j < n; j += kRowLanes) {
      const auto mask = static_cast<__mmask16>(n - j < kRowLanes ? (1u << (n - j)) - 1 : 0xffffu);
      const __m256bh narrow = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + j));
      _mm256_mask_storeu_epi16(to + j, mask, reinterpret_cast<__m256i>(narrow));
    }
}

}  // namespace
}  // namespace loopwright
