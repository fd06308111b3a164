// Rows of pixels pooled to maxima of 8-bit integers (contract: pool_row.h), templated over a vector type V of bytes.
//
// Each tap takes a load and an operation per vector of channels; up to four vectors are independent. The last vector of the
// channels starts earlier than the end of the one before it, if it has to: computing a channel twice changes nothing.
#pragma once

#include "microkernels/pool_row.h"

namespace loopwright {
namespace {

template <class V, bool kSigned, int N>
void max_pool_vectors(const BytePoolRow& row, int64_t channel) {
  using Int = typename V::Int;
  const int64_t step = row.dilation * row.pixel_stride;
  const uint8_t* const x = row.x + channel;
  uint8_t* y = row.y + channel;
  for (int64_t q = 0; q < row.ow; ++q, y += row.pixel_stride) {
    const int64_t first = q * row.stride - row.pad;
    const Taps inside = taps_between(first, row.kernel, row.dilation, 0, row.w);
    const uint8_t* window = x + (first + inside.first * row.dilation) * row.pixel_stride;
    Int largest[N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) largest[v] = V::bytes_of(kSigned ? 0x80 : 0);
    for (int64_t i = 0; i < row.rows; ++i, window += row.row_stride) {
      const uint8_t* pixel = window;
      for (int64_t j = 0; j < inside.count; ++j, pixel += step)
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v)
          largest[v] = V::template max_bytes<kSigned>(largest[v], V::load_bytes(pixel + v * V::kByteLanes));
    }
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) V::store_bytes(y + v * V::kByteLanes, largest[v]);
  }
}

// The channels one by one, if they are fewer than a vector has.
template <bool kSigned>
void max_pool_channels(const BytePoolRow& row) {
  constexpr uint8_t kSign = kSigned ? 0x80 : 0;  // whose XOR makes them unsigned
  for (int64_t q = 0; q < row.ow; ++q) {
    const int64_t first = q * row.stride - row.pad;
    const Taps inside = taps_between(first, row.kernel, row.dilation, 0, row.w);
    const uint8_t* const window = row.x + (first + inside.first * row.dilation) * row.pixel_stride;
    for (int64_t channel = 0; channel < row.channels; ++channel) {
      uint8_t largest = 0;
      for (int64_t i = 0; i < row.rows; ++i)
        for (int64_t j = 0; j < inside.count; ++j) {
          const uint8_t found = window[i * row.row_stride + j * row.dilation * row.pixel_stride + channel] ^ kSign;
          if (found > largest) largest = found;
        }
      row.y[q * row.pixel_stride + channel] = largest ^ kSign;
    }
  }
}

template <class V, bool kSigned>
void max_pool_row(const BytePoolRow& row) {
  constexpr int64_t kLanes = V::kByteLanes;
  if (row.channels < kLanes) return max_pool_channels<kSigned>(row);
  int64_t channel = 0;
  for (; channel + 4 * kLanes <= row.channels; channel += 4 * kLanes) max_pool_vectors<V, kSigned, 4>(row, channel);
  for (; channel + kLanes <= row.channels; channel += kLanes) max_pool_vectors<V, kSigned, 1>(row, channel);
  if (channel < row.channels) max_pool_vectors<V, kSigned, 1>(row, row.channels - kLanes);
}

}  // namespace
}  // namespace loopwright
