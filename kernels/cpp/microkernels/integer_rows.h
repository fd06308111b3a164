// Rows of 8-bit integers outside of register tiles.
#pragma once

#include <cstdint>

#include "loopwright/quantization.h"
#include "microkernels/brgemm.h"

namespace loopwright {

struct IntegerRowFunctions {
  // Store the words of `count` integers, or of floats that become integers as by QuantizeLinear of ONNX. The last word is
  // padded with 0.
  void (*to_words)(const void* from, const Quantization& x, int64_t count, float* to) = nullptr;
  void (*quantize_to_words)(const float* from, const Quantization& x, int64_t count, float* to) = nullptr;
  // Widens [*least, *most] to all of `count` floats.
  void (*add_range)(const float* x, int64_t count, float* least, float* most) = nullptr;
  // Rounds rows of n floats to integers, as a tile does. Strides are in elements.
  void (*quantize)(const float* from, int64_t from_stride, uint8_t* to, int64_t to_stride, int rows, int n,
                   const TileQuantization& quantization) = nullptr;
};

}  // namespace loopwright
