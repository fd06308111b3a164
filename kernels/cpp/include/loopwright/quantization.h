// Matrices of 8-bit integers that stand for real numbers: real = scale * (integer - zero_point).
#pragma once

#include <cstdint>
#include <optional>

#include "loopwright/dtype.h"

namespace loopwright {

// What the integers of a matrix stand for. The scale is positive, it and its inverse are finite, and the zero point is an integer
// of the dtype.
struct Quantization {
  Dtype dtype = Dtype::kUint8;  // kInt8 or kUint8
  float scale = 1.0f;
  int32_t zero_point = 0;

  int32_t least() const { return dtype == Dtype::kInt8 ? -128 : 0; }
  int32_t most() const { return least() + 255; }
  // The same integers as unsigned ones, 128 higher if they are signed: their zero point, and the byte whose XOR converts them.
  int32_t unsigned_zero_point() const { return zero_point - least(); }
  uint8_t sign_byte() const { return dtype == Dtype::kInt8 ? 0x80 : 0; }
};

// The scales of an int8 layer, whose weights have no zero points:
//   y[i, j] = activation(rounded(sum * (x.scale * weight_scales[j]) + bias[j]) + residual[i, j]),
//   sum     = Σ (x[i, p] - x.zero_point) * weight[j, p]    in int32
// Integers of the output are round(y * (1 / scale)) + zero_point, rounded to nearest even and saturated.
struct LayerQuantization {
  const float* weight_scales = nullptr;  // of the output channels; null unless the layer is int8
  const int32_t* weight_sums = nullptr;  // of the weights of each output channel, which layers compute
  // The input: integers; floats that each run quantizes as x; or floats that each run quantizes to uint8 by their range, as
  // DynamicQuantizeLinear of ONNX does, so that x has no effect.
  enum class Input { kIntegers, kFloats, kFloatsByRange };
  Input input = Input::kIntegers;
  Quantization x;
  std::optional<Quantization> out, residual;  // null: only float32
  // What rounded() rounds to, as by QuantizeLinear and DequantizeLinear of ONNX; null: it does not.
  std::optional<Quantization> sum;
};

// The dtypes of a layer's matrices. The output and the residual may be float32 as well, and so may the input of a bfloat16 layer.
struct LayerDtypes {
  Dtype x, out, residual;

  LayerDtypes(Dtype layer, const LayerQuantization& q) : x(layer), out(layer), residual(layer) {
    if (layer != Dtype::kInt8) return;
    x = q.input == LayerQuantization::Input::kIntegers ? q.x.dtype : Dtype::kFloat32;
    out = q.out ? q.out->dtype : Dtype::kFloat32;
    residual = q.residual ? q.residual->dtype : Dtype::kFloat32;
  }
};

// The longest sum of products that fits int32; graph_passes/patterns/integer_weight.py has it, too.
constexpr int64_t kLongestIntegerSum = INT32_MAX / (255 * 128);

}  // namespace loopwright
