// Plain C++ for what has no vectors: the fallback on CPUs without AVX2, and what the vectorised functions mean.
#pragma once

#include "loopwright/brgemm.h"

namespace loopwright {

float reference_activation(Activation activation, float x);
void reference_softmax(const SoftmaxArgs& args);
void reference_layer_norm(const LayerNormArgs& args);
void reference_max_pool_row(const PoolRow& row);
void reference_average_pool_row(const PoolRow& row);
void reference_depthwise_windows(const DepthwiseWindows& windows, const DepthwiseLayer& layer);

}  // namespace loopwright
