// Softmax of rows, as attention and classifiers need it.
#pragma once

#include <cstdint>

namespace loopwright {

// out[i, :] = softmax(scale * x[i, :] + mask[i, :]), the largest value subtracted first, so that no finite input
// overflows.
//
// `out` may be `x`, but overlap it in no other way. The mask is absent where its pointer is null, and one for all rows
// where its stride is 0. Entries of -inf have no share; a row of nothing else is zeros. NaN passes through.
struct SoftmaxArgs {
  const float* x;
  int64_t x_stride;  // floats from row to row, as the other strides
  float* out;
  int64_t out_stride;
  int64_t rows, n;
  float scale = 1.0f;
  const float* mask = nullptr;
  int64_t mask_stride = 0;
};

using SoftmaxFunction = void (*)(const SoftmaxArgs&);

}  // namespace loopwright
