// What register tiles do with their sums before they store them.
#pragma once

#include <cstdint>

#include "loopwright/activation.h"
#include "loopwright/dtype.h"

namespace loopwright {

// clamp(x, lo, hi), then x * clamp(x + 3, 0, 6) / 6 if hard_swish is set. NaN passes through.
struct TileActivation {
  float lo = -__builtin_inff(), hi = __builtin_inff();
  bool hard_swish = false;
};

// Returns the part of an activation that is a clamp.
static inline TileActivation clamp_of(Activation activation) {
  TileActivation clamp;
  if (activation == Activation::kRelu || activation == Activation::kRelu6) clamp.lo = 0.0f;
  if (activation == Activation::kRelu6) clamp.hi = 6.0f;
  return clamp;
}

// Returns the part of an activation that register tiles apply.
static inline TileActivation tile_activation(Activation activation) {
  TileActivation found = clamp_of(activation);
  found.hard_swish = activation == Activation::kHardSwish;
  return found;
}

// 8-bit integers that tiles read: scale * (integer - zero_point). Signed ones are taken as unsigned ones: XOR with the sign byte
// converts them (Quantization::sign_byte).
struct TileIntegers {
  float scale = 1.0f;
  int32_t zero_point = 0;
  uint8_t sign = 0;
};

// 8-bit integers that tiles store: clamp(x, lo, hi) in steps, rounded to nearest even, plus the zero point.
struct TileRounding {
  float steps = 1.0f;            // per unit: the inverse of the scale
  float lo = 0.0f, hi = 255.0f;  // without the zero point
  int32_t zero_point = 0;
  uint8_t sign = 0;  // as of TileIntegers
};

// Sums with bias that are rounded to 8-bit integers, without the zero point, and back: clamp(sum, lo, hi), rounded to nearest even,
// times the scale. The sum is in steps.
struct TileSum {
  float steps = 0.0f;  // per unit: the inverse of the scale; 0: sums are not rounded
  float lo = 0.0f, hi = 0.0f, scale = 0.0f;
};

// What the integers of a layer stand for.
struct TileQuantization {
  TileIntegers x, residual;
  TileRounding out;
  TileSum sum;
  // Results are computed in units, the steps of integers that they become: multiplying each sum with these at the end would take
  // an instruction more. `factor` is that of sums, whose unit is another one if they are rounded. The scales of the residual and of
  // the rounded sum include the unit.
  float unit = 1.0f, factor = 1.0f;
};

// A matrix that a tile adds to its sums. Its elements are float32, or of the narrow type of the microkernel.
struct TileResidual {
  const void* data = nullptr;    // of the first row and column of the tile; null: no residual
  int64_t stride = 0, step = 0;  // elements from row to row, and from tile to tile of a series
  Dtype dtype = Dtype::kFloat32;
  TileIntegers integers{};  // what 8-bit integers stand for
};

// y = activation(sum + bias + residuals), then PRelu if there are slopes. Sums of integers are sum * (scales * x.scale).
struct TileEpilogue {
  // Of the columns, nr readable elements each, or null: no bias, no PRelu, scales of 1.
  const float* bias = nullptr;
  const float* slopes = nullptr;
  const float* scales = nullptr;  // int8 only
  const int32_t* weight_sums =
      nullptr;              // int8 only: of the columns of B, if words of A are bytes with their zero point
  int64_t column_step = 0;  // of these, from tile to tile of a series
  // int8 only: whether sums become float32. Otherwise C is the sum in int32.
  bool to_floats = false;
  TileIntegers x{};                  // int8 only: the integers of A
  TileSum sum{};                     // int8 only: how sums are rounded before the residuals
  float unit = 1.0f, factor = 1.0f;  // int8 only: as of TileQuantization
  // Added in order: after the sum; or, all of float32, before it (`residuals_first`), where a later call completes the sum.
  static constexpr int kResiduals = 2;
  TileResidual residuals[kResiduals] = {};
  bool residuals_first = false;
  TileActivation activation{};
  // Where y is stored in the narrow type of the microkernel, bfloat16 or 8-bit integers, in place of C; or null.
  void* narrow = nullptr;
  int64_t narrow_stride = 0, narrow_step = 0;
  TileRounding rounding{};  // to 8-bit integers
};

}  // namespace loopwright
