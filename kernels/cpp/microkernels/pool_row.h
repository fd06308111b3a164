// A row of pooled pixels, which the microkernels of pooling compute. All of its windows cover the same rows of the image.
#pragma once

#include <cstdint>

#include "core/taps.h"

namespace loopwright {

// y[q, :] for q < ow is the maximum or the mean of the pixels x[i, q * stride - pad + j * dilation, :] of a window, i < rows,
// j < kernel, that are between columns 0 and w. The maximum of nothing is -inf. A window that contains NaN gives NaN.
//
// The mean is the sum divided by the number of taps in counted_rows rows between columns counted_begin and counted_end,
// which may be outside the image.
struct PoolRow {
  const float* x;  // column 0 of the first row of the image that the windows cover
  int64_t rows;
  int64_t row_stride;  // floats from one of these rows to the next
  int64_t w;
  float* y;
  int64_t ow;
  int64_t pixel_stride;  // floats from pixel to pixel of the image and of y
  int64_t channels;      // number of channels to compute, starting at x and y
  int64_t kernel, stride, dilation, pad;
  int64_t counted_rows, counted_begin, counted_end;
};

using PoolRowFunction = void (*)(const PoolRow&);

struct PoolFunctions {
  PoolRowFunction max = nullptr, average = nullptr;
};

}  // namespace loopwright
