// What follows the sum in a register tile: a clamp inside the microkernel, or a function on the finished tile.
#pragma once

#include <limits>

#include "microkernels/kernel_table.h"

namespace loopwright {

struct Epilogue {
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  float lo = -kInfinity, hi = kInfinity;
  ActivationFunction activate = nullptr;  // for a finished tile that is still in L1; null where the tile does it all
  bool hard_swish = false;                // of a register tile, after its clamp

  Epilogue(Activation activation, const KernelTable& kernels) : activate(kernels.activation(activation)) {
    if (activation == Activation::kRelu || activation == Activation::kRelu6) lo = 0.0f;
    if (activation == Activation::kRelu6) hi = 6.0f;
  }

  // What microkernels apply in registers, where any of their tiles has room for it.
  static Epilogue in_registers(Activation activation, const KernelTable& kernels) {
    Epilogue epilogue(activation, kernels);
    epilogue.hard_swish = activation == Activation::kHardSwish;
    if (epilogue.hard_swish) epilogue.activate = nullptr;
    return epilogue;
  }
};

}  // namespace loopwright
