// The operations that follow the sum of an operator: a clamp where the sum is computed, then a function on finished data
// that is still in L1.
#pragma once

#include "microkernels/kernel_table.h"
#include "microkernels/tile_epilogue.h"

namespace loopwright {

struct Epilogue : TileActivation {
  ActivationFunction activate;  // for finished data; null if the clamp is enough
  const float* slopes;          // of all channels, or null

  Epilogue(Activation activation, const float* of_channels, const KernelTable& kernels)
      : TileActivation(clamp_of(activation)), activate(kernels.activation(activation)), slopes(of_channels) {}

  // Applies `activate`, which must not be null, to `n` channels from `channel` on.
  void apply(float* c, int64_t c_stride, int rows, int n, int64_t channel) const {
    activate(c, c_stride, rows, n, slopes_from(channel));
  }
  const float* slopes_from(int64_t channel) const { return slopes ? slopes + channel : nullptr; }

  // Returns the epilogue of functions that apply the slopes in addition to the clamp.
  static Epilogue of_slopes(Activation activation, const float* slopes, const KernelTable& kernels) {
    Epilogue epilogue(activation, slopes, kernels);
    if (activation == Activation::kPrelu) epilogue.activate = nullptr;
    return epilogue;
  }

  // Returns the epilogue of register tiles, which apply slopes and more than a clamp.
  static Epilogue of_tiles(Activation activation, const float* slopes, const KernelTable& kernels) {
    Epilogue epilogue = of_slopes(activation, slopes, kernels);
    static_cast<TileActivation&>(epilogue) = tile_activation(activation);
    if (activation == Activation::kHardSwish) epilogue.activate = nullptr;
    return epilogue;
  }
};

}  // namespace loopwright
