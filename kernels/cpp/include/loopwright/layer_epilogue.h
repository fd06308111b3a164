// What a layer does with its sums: y = activation(sum + bias + residual).
#pragma once

#include "loopwright/activation.h"
#include "loopwright/quantization.h"

namespace loopwright {

// The constants of a layer, each a float per output channel. They belong to the caller; layers copy them.
struct LayerEpilogue {
  const float* bias = nullptr;  // or null
  Activation activation = Activation::kNone;
  const float* slopes = nullptr;  // of kPrelu; null for others
  LayerQuantization quantization{};
};

// Throws std::invalid_argument if a kPrelu has no slopes, or another activation has.
void check_epilogue(const LayerEpilogue& epilogue);

// Throws std::invalid_argument if the scale or the zero point of these integers is not legal. `of`: their name in the message.
void check_quantization(const char* of, const Quantization& quantization);

// Throws std::invalid_argument if a layer of int8 has no scales or another one has, if a scale or a zero point is not legal, or
// if a sum of k products may exceed int32. `channels`: of the output.
void check_quantization(const LayerQuantization& quantization, Dtype dtype, int64_t channels, int64_t k);

}  // namespace loopwright
