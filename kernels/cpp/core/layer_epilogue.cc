#include "loopwright/layer_epilogue.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace loopwright {
namespace {

bool is_scale(float scale) { return scale > 0.0f && std::isfinite(scale) && std::isfinite(1.0f / scale); }

}  // namespace

void check_quantization(const char* of, const Quantization& q) {
  if (!is_integer(q.dtype)) throw std::invalid_argument(std::string(of) + " must be quantized to int8 or uint8");
  if (!is_scale(q.scale))
    throw std::invalid_argument("the scale of " + std::string(of) +
                                " must be positive, and it and its inverse finite, got " + std::to_string(q.scale));
  if (q.zero_point < q.least() || q.zero_point > q.most())
    throw std::invalid_argument("the zero point of " + std::string(of) + " must be between " +
                                std::to_string(q.least()) + " and " + std::to_string(q.most()) + ", got " +
                                std::to_string(q.zero_point));
}

void check_epilogue(const LayerEpilogue& epilogue) {
  const bool needed = epilogue.activation == Activation::kPrelu;
  if (needed == (epilogue.slopes != nullptr)) return;
  throw std::invalid_argument(needed ? "activation prelu needs slopes" : "slopes are for activation prelu alone");
}

void check_quantization(const LayerQuantization& quantization, Dtype dtype, int64_t channels, int64_t k) {
  const float* scales = quantization.weight_scales;
  const bool needed = dtype == Dtype::kInt8;
  if (needed != (scales != nullptr))
    throw std::invalid_argument(needed ? "weights of int8 need a quantization"
                                       : "a quantization is for weights of int8");
  if (!needed) return;
  const float* wrong = std::find_if_not(scales, scales + channels, is_scale);
  if (wrong != scales + channels)
    throw std::invalid_argument("the scales of the weight must be positive, and it and its inverse finite, got " +
                                std::to_string(*wrong));
  if (quantization.input != LayerQuantization::Input::kFloatsByRange) check_quantization("x", quantization.x);
  if (quantization.out) check_quantization("the output", *quantization.out);
  if (quantization.residual) check_quantization("the residual", *quantization.residual);
  if (quantization.sum) check_quantization("the sum", *quantization.sum);
  if (k > kLongestIntegerSum)
    throw std::invalid_argument("a sum of " + std::to_string(k) + " products of integers may exceed int32; at most " +
                                std::to_string(kLongestIntegerSum) + " fit");
}

}  // namespace loopwright
