#include <algorithm>
#include <limits>

#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

// Joins every value of a channel in one window with `start`.
template <class T, class Row, class Join>
T reduce_window(const Row& row, int64_t q, int64_t channel, T start, const Join& join) {
  for (int64_t i = 0; i < row.rows; ++i)
    for (int64_t j = 0; j < row.kernel; ++j) {
      const int64_t column = q * row.stride - row.pad + j * row.dilation;
      if (column >= 0 && column < row.w)
        start = join(start, row.x[i * row.row_stride + column * row.pixel_stride + channel]);
    }
  return start;
}

}  // namespace

void reference_max_pool_row(const PoolRow& row) {
  const auto larger = [](float a, float b) { return a > b || a != a ? a : b; };
  for (int64_t q = 0; q < row.ow; ++q)
    for (int64_t c = 0; c < row.channels; ++c)
      row.y[q * row.pixel_stride + c] = reduce_window(row, q, c, -std::numeric_limits<float>::infinity(), larger);
}

// Both as unsigned ones.
template <uint8_t kSign>
static void max_of_integers(const BytePoolRow& row) {
  const auto larger = [](uint8_t a, uint8_t b) { return std::max(a, static_cast<uint8_t>(b ^ kSign)); };
  for (int64_t q = 0; q < row.ow; ++q)
    for (int64_t c = 0; c < row.channels; ++c)
      row.y[q * row.pixel_stride + c] = reduce_window(row, q, c, uint8_t{0}, larger) ^ kSign;
}

void reference_max_pool_row_of_uint8(const BytePoolRow& row) { max_of_integers<0>(row); }
void reference_max_pool_row_of_int8(const BytePoolRow& row) { max_of_integers<0x80>(row); }

void reference_average_pool_row(const PoolRow& row) {
  const auto sum = [](double a, float b) { return a + b; };
  for (int64_t q = 0; q < row.ow; ++q) {
    const Taps counted =
        taps_between(q * row.stride - row.pad, row.kernel, row.dilation, row.counted_begin, row.counted_end);
    for (int64_t c = 0; c < row.channels; ++c)
      row.y[q * row.pixel_stride + c] = static_cast<float>(reduce_window(row, q, c, 0.0, sum) /
                                                           static_cast<double>(row.counted_rows * counted.count));
  }
}

}  // namespace loopwright
