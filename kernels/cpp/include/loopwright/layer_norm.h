// Layer normalisation of rows. (Ba, Kiros, Hinton: Layer Normalization, 2016.)
#pragma once

#include <cstdint>

namespace loopwright {

// out[i, :] = gamma * (v - mean(v)) / sqrt(variance(v) + eps) + beta with v = x[i, :] + residual[i, :], rows of n floats
// one after the other. The residual is absent where its pointer is null. `out` may be x or residual, but overlap no
// array in another way.
struct LayerNormArgs {
  const float* x;
  const float* residual;
  const float* gamma;
  const float* beta;
  float* out;
  int64_t rows, n;
  float eps;
};

using LayerNormFunction = void (*)(const LayerNormArgs&);

}  // namespace loopwright
