// What a layer does with its sums: y = activation(sum + bias + residual).
#pragma once

#include "loopwright/activation.h"

namespace loopwright {

// The constants of a layer, each a float per output channel. They belong to the caller; layers copy them.
struct LayerEpilogue {
  const float* bias = nullptr;  // or null
  Activation activation = Activation::kNone;
  const float* slopes = nullptr;  // of kPrelu; null for others
};

// Throws std::invalid_argument if a kPrelu has no slopes, or another activation has.
void check_epilogue(const LayerEpilogue& epilogue);

}  // namespace loopwright
