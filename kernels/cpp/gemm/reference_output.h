// The end of a layer without register tiles: what it does with the sum of one output, in plain C++.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "gemm/tile_quantization.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/matrix.h"
#include "microkernels/reference/reference.h"

namespace loopwright {

class ReferenceOutput {
 public:
  // As TileOutput. The arrays of the epilogue must outlive this object.
  ReferenceOutput(const LayerEpilogue& epilogue, Matrix out, Matrix residual, Matrix second_residual = {})
      : epilogue_(epilogue),
        quantization_(tile_quantization(epilogue.quantization, out.dtype, epilogue.activation)),
        out_(out),
        residual_(residual),
        second_residual_(second_residual) {}

  // Stores the output in row i and column j from its sum of products.
  void store(int64_t i, int64_t j, float sum) const {
    float start = bias(j);
    if (residual_.data) start += *residual_.at<float>(i, j);
    if (second_residual_.data) start += *second_residual_.at<float>(i, j);
    *out_.at<float>(i, j) = activated(start + sum, j);
  }

  // The same for integers, with the roundings of register tiles.
  void store(int64_t i, int64_t j, int32_t sum) const {
    const TileQuantization& q = quantization_;
    const float scale = epilogue_.quantization.weight_scales[j] * q.x.scale * q.factor;
    float y = std::fma(static_cast<float>(sum), scale, bias(j) * q.factor);
    if (q.sum.steps != 0.0f) y = rounded(y);
    if (residual_.data) y = with_residual(y, i, j);
    y = epilogue_.activation == Activation::kRelu6 ? std::min(std::max(y, 0.0f), 6.0f * q.unit) : activated(y, j);
    if (out_.dtype == Dtype::kFloat32) {
      *out_.at<float>(i, j) = y;
    } else {
      integer_rows_.quantize(&y, 0, out_.at<uint8_t>(i, j), 0, 1, 1, q.out);
    }
  }

 private:
  float bias(int64_t j) const { return epilogue_.bias ? epilogue_.bias[j] : 0.0f; }
  float activated(float y, int64_t j) const {
    return reference_activation(epilogue_.activation, y, epilogue_.slopes ? epilogue_.slopes[j] : 0.0f);
  }
  float rounded(float y) const {
    const TileSum& sum = quantization_.sum;
    return std::nearbyint(y > sum.lo ? std::min(y, sum.hi) : sum.lo) * sum.scale;  // NaN becomes the least
  }
  float with_residual(float y, int64_t i, int64_t j) const {
    if (residual_.dtype == Dtype::kFloat32) return std::fma(*residual_.at<float>(i, j), quantization_.unit, y);
    const int32_t whole = *residual_.at<uint8_t>(i, j) ^ quantization_.residual.sign;
    return std::fma(static_cast<float>(whole - quantization_.residual.zero_point), quantization_.residual.scale, y);
  }
  IntegerRowFunctions integer_rows_ = reference_integer_rows();
  LayerEpilogue epilogue_;
  TileQuantization quantization_;
  Matrix out_, residual_, second_residual_;
};

}  // namespace loopwright
