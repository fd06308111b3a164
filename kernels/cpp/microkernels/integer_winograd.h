// The transforms of Winograd's F(2×2, 3×3) for 8-bit integers, with exact sums (conv2d/integer_winograd.cc).
//
// The matrices are those of winograd.h for the points 0, ±1, ∞. That of the kernel has halves, so it is doubled: products are 4
// times as large, and the sums are shifted back.
#pragma once

#include <cstdint>

#include "microkernels/brgemm.h"

namespace loopwright {

// Computes Bᵀ d B for `words` pairs of int16. Row i, column j of d is at d + i * row_stride + j * pixel_stride, in int16. Place
// ξ = 4 i + j of the result is at v + ξ * place_stride, in words. Whole vectors are read and stored.
struct IntegerWinogradInput {
  const int16_t* d;
  int64_t row_stride, pixel_stride;
  int64_t words;
  float* v;
  int64_t place_stride;
};

// Computes y = clamp(rounded(sum * (scales * x_scale) + bias) + residual, lo, hi), then PRelu if there are slopes, in the units of
// the quantization, for n channels of one tile, of which `rows` rows and `columns` columns are inside the image. sum = (Aᵀ M A) / 4 in int32. Place ξ of M is at
// m + ξ * place_stride. Whole vectors of m, scales, bias and slopes are readable. Strides are in elements.
struct IntegerWinogradOutput {
  const float* m;  // int32
  int64_t place_stride;
  int rows, columns, n;
  // The output: floats, or 8-bit integers if y is null. The residual, with the same strides: at most one is not null.
  float* y = nullptr;
  uint8_t* rounded = nullptr;
  int64_t row_stride, pixel_stride;
  const float* residual = nullptr;
  const uint8_t* rounded_residual = nullptr;
  int64_t residual_row_stride = 0, residual_pixel_stride = 0;
  const float* scales;
  const float* bias;  // or null
  float lo, hi;
  const float* slopes;  // or null
  const TileQuantization* quantization;
};

// Null unless words are pairs of int16.
struct IntegerWinogradFunctions {
  void (*input)(const IntegerWinogradInput&) = nullptr;
  void (*output)(const IntegerWinogradOutput&) = nullptr;
};

}  // namespace loopwright
