// Converts rows of bfloat16 to float32 and back, templated over a vector type V that loads and stores both.
#pragma once

#include <cstdint>

#include "loopwright/dtype.h"

namespace loopwright {
namespace {

template <class V, class From, class To>
void convert_rows(const From* from, int64_t from_stride, To* to, int64_t to_stride, int rows, int n) {
  const auto rest = V::mask(n % V::kLanes);
  for (int i = 0; i < rows; ++i, from += from_stride, to += to_stride) {
    int j = 0;
    for (; j + V::kLanes <= n; j += V::kLanes) V::store(to + j, V::load(from + j));
    if (j < n) V::store(to + j, V::load(from + j, rest), rest);
  }
}

// Converts pixels of few channels, an odd number, to bfloat16 with a zero after each pixel: several pixels at a time.
template <class V>
void narrow_pixels(const float* from, int64_t pixels, int channels, Bfloat16* to) {
  const int step = channels + 1, most = V::kLanes / step;
  const auto spread = [&](int64_t count) {  // lanes of the channels of `count` pixels
    unsigned lanes = 0;
    for (int64_t i = 0; i < count; ++i) lanes |= ((1u << channels) - 1) << i * step;
    return static_cast<typename V::Mask>(lanes);
  };
  const auto convert = [&](int count, typename V::Mask source, typename V::Mask target) {
    V::store(to, V::load_expanded(from, source, target), V::mask(count * step));
    from += count * channels;
    to += count * step;
  };
  const auto source = V::mask(most * channels), target = spread(most);
  int64_t i = 0;
  for (; i + most <= pixels; i += most) convert(most, source, target);
  const auto rest = static_cast<int>(pixels - i);
  if (rest > 0) convert(rest, V::mask(rest * channels), spread(rest));
}

}  // namespace
}  // namespace loopwright
