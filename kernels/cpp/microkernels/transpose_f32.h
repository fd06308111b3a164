// Transposition by square blocks in registers, templated over the vector type V.
#pragma once

#include <cstdint>

namespace loopwright {
namespace {

// to[p, j] = from[j, p] for j < rows, p < columns. Stores rows of `to` in full vectors, padded with zeros to a multiple of
// the lanes.
template <class V>
void transpose(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to, int64_t to_stride) {
  constexpr int kLanes = V::kLanes;
  for (int64_t j = 0; j < rows; j += kLanes)
    for (int64_t p = 0; p < columns; p += kLanes) {
      const int64_t height = rows - j, width = columns - p;  // of the remainder
      const float* corner = from + j * from_stride + p;
      typename V::Reg block[kLanes];
      if (height >= kLanes && width >= kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) block[i] = V::load(corner + i * from_stride);
      } else {
        const auto part = V::mask(width < kLanes ? static_cast<int>(width) : kLanes);
        for (int i = 0; i < kLanes; ++i) block[i] = i < height ? V::load(corner + i * from_stride, part) : V::zero();
      }
      V::transpose(block);
      float* out = to + p * to_stride + j;
      if (width >= kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) V::store(out + i * to_stride, block[i]);
      } else {
        for (int i = 0; i < width; ++i) V::store(out + i * to_stride, block[i]);
      }
    }
}

}  // namespace
}  // namespace loopwright
