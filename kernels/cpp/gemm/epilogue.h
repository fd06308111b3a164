// The operations that follow the sum of an operator: a clamp where the sum is computed, then a function on finished data
// that is still in L1.
#pragma once

#include "microkernels/kernel_table.h"
#include "microkernels/tile_epilogue.h"

namespace loopwright {

struct Epilogue : TileEpilogue {
  ActivationFunction activate;  // for finished data; null if the clamp is enough

  Epilogue(Activation activation, const KernelTable& kernels)
      : TileEpilogue(clamp_of(activation)), activate(kernels.activation(activation)) {}

  // Returns the epilogue of register tiles, which apply more than a clamp.
  static Epilogue of_tiles(Activation activation, const KernelTable& kernels) {
    Epilogue epilogue(activation, kernels);
    static_cast<TileEpilogue&>(epilogue) = tile_epilogue(activation);
    if (activation == Activation::kHardSwish) epilogue.activate = nullptr;
    return epilogue;
  }
};

}  // namespace loopwright
