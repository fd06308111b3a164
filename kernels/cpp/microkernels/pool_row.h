// A row of pooled pixels: what the microkernels of pooling compute. All of its windows meet the same rows of the image.
#pragma once

#include <cstdint>

#include "core/taps.h"

namespace loopwright {

// y[q, :] for q < ow: the largest or the mean of a window's pixels x[i, q * stride - pad + j * dilation, :], i < rows,
// j < kernel, as far as they lie between columns 0 and w. The largest of nothing is -inf, and of NaN and anything NaN.
//
// A mean is the sum over how many taps there are in counted_rows rows between columns counted_begin and counted_end,
// which may lie outside of the image.
struct PoolRow {
  const float* x;  // column 0 of the first row of the image that the windows meet
  int64_t rows;
  int64_t row_stride;  // floats from one of these rows to the next
  int64_t w;
  float* y;
  int64_t ow;
  int64_t pixel_stride;  // floats from pixel to pixel, of the image and of y
  int64_t channels;      // to compute, from those at x and y on
  int64_t kernel, stride, dilation, pad;
  int64_t counted_rows, counted_begin, counted_end;
};

using PoolRowFunction = void (*)(const PoolRow&);

struct PoolFunctions {
  PoolRowFunction max = nullptr, average = nullptr;
};

}  // namespace loopwright
