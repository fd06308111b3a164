// What follows the sum in a register tile: a clamp inside the microkernel, or a function on the finished tile.
#pragma once

#include <limits>

#include "loopwright/brgemm.h"

namespace loopwright {

struct Epilogue {
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  float lo = -kInfinity, hi = kInfinity;
  RowsFunction activate = nullptr;  // for a finished tile that is still in L1; null where the clamp is all

  Epilogue(Activation activation, const F32Kernels& kernels) : activate(kernels.activation(activation)) {
    if (activation == Activation::kRelu || activation == Activation::kRelu6) lo = 0.0f;
    if (activation == Activation::kRelu6) hi = 6.0f;
  }
};

}  // namespace loopwright
