// The weights of attention, from the scores q·kᵀ: a softmax of rows with a scale and a mask.
#pragma once

#include <cstdint>

namespace loopwright {

// out[i, :] = softmax(scale * x[i, :] + mask[i, :]). The largest value is subtracted first, so no finite input overflows.
//
// `out` may be `x`, but must not overlap it otherwise. The mask counts as zero if null; with a stride of 0 all rows share
// one. Entries of -inf get the weight 0. A row of nothing else, or with +inf or NaN, becomes
// NaN, as in ONNX, or zeros if or_zero is set.
struct AttentionWeightsArgs {
  const float* x;
  int64_t x_stride;  // strides are in floats from row to row
  float* out;
  int64_t out_stride;
  int64_t rows, n;
  float scale = 1.0f;
  const float* mask = nullptr;
  int64_t mask_stride = 0;
  bool or_zero = false;
};

using AttentionWeightsFunction = void (*)(const AttentionWeightsArgs&);

}  // namespace loopwright
