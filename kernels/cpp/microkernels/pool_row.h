// A row of pooled pixels, which the microkernels of pooling compute. All of its windows cover the same rows of the image.
#pragma once

#include <cstdint>

#include "core/taps.h"

namespace loopwright {

// y[q, :] for q < ow is the maximum or the mean of the pixels x[i, q * stride - pad + j * dilation, :] of a window, i < rows,
// j < kernel, that are between columns 0 and w. The maximum of nothing is -inf. A window that contains NaN gives NaN.
//
// The mean is the sum divided by the number of taps in counted_rows rows between columns counted_begin and counted_end,
// which may be outside the image. Steps are in elements. There is no mean of 8-bit integers, of which the maximum of nothing is
// the least.
template <class T>
struct PoolRowOf {
  const T* x;  // column 0 of the first row of the image that the windows cover
  int64_t rows;
  int64_t row_stride;  // from one of these rows to the next
  int64_t w;
  T* y;
  int64_t ow;
  int64_t pixel_stride;  // from pixel to pixel of the image and of y
  int64_t channels;      // number of channels to compute, starting at x and y
  int64_t kernel, stride, dilation, pad;
  int64_t counted_rows, counted_begin, counted_end;
};

using PoolRow = PoolRowOf<float>;
using BytePoolRow = PoolRowOf<uint8_t>;
using PoolRowFunction = void (*)(const PoolRow&);
using BytePoolRowFunction = void (*)(const BytePoolRow&);

struct PoolFunctions {
  PoolRowFunction max = nullptr, average = nullptr;
  BytePoolRowFunction max_of_uint8 = nullptr, max_of_int8 = nullptr;  // null unless the dtype of the table is int8
};

}  // namespace loopwright
