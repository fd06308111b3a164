// Rows of 8-bit integers outside of register tiles.
#pragma once

#include <cstdint>

#include "loopwright/quantization.h"
#include "microkernels/brgemm.h"

namespace loopwright {

// Rows of n sums of integers in float32, without gaps, and what becomes of them:
//   y = clamp(rounded(sum * (scales * x_scale) + bias) + residual, lo, hi), in the units of the quantization, then PRelu if there are slopes
// Rows of y and of the residual have no gaps either; y may be the sums. Scales, bias and slopes are readable in full vectors.
struct SumRows {
  const float* sums;
  float* y;
  int64_t rows;
  int n;
  const float* scales;
  const float* bias;  // or null
  // At most one of them is not null.
  const float* residual = nullptr;
  const uint8_t* integer_residual = nullptr;
  float lo = 0.0f, hi = 0.0f;
  const float* slopes = nullptr;  // or null
};

struct IntegerRowFunctions {
  // Store the words of `count` integers, or of floats that become integers as by QuantizeLinear of ONNX. The last word is
  // padded with 0.
  void (*to_words)(const void* from, const Quantization& x, int64_t count, float* to) = nullptr;
  // The same for each of `pixels` adjacent pixels of `channels` integers, whose last word is padded.
  void (*pixels_to_words)(const void* from, const Quantization& x, int64_t pixels, int64_t channels,
                          float* to) = nullptr;
  void (*quantize_to_words)(const float* from, const Quantization& x, int64_t count, float* to) = nullptr;
  // Widens [*least, *most] to all of `count` floats.
  void (*add_range)(const float* x, int64_t count, float* least, float* most) = nullptr;
  // Rounds rows of n floats to integers, as a tile does. Strides are in elements.
  void (*quantize)(const float* from, int64_t from_stride, uint8_t* to, int64_t to_stride, int rows, int n,
                   const TileRounding& rounding) = nullptr;
  // Store `count` integers, or floats that become integers, without the zero point as floats.
  void (*to_floats)(const void* from, const Quantization& x, int64_t count, float* to) = nullptr;
  void (*round)(const float* from, const Quantization& x, int64_t count, float* to) = nullptr;
  void (*scale)(const SumRows& rows, const TileQuantization& quantization) = nullptr;
};

}  // namespace loopwright
