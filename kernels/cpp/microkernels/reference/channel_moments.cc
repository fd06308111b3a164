#include <algorithm>

#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

void sums(const float* x, int64_t pixels, int64_t channels, float* sums) {
  std::fill(sums, sums + channels, 0.0f);
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t c = 0; c < channels; ++c) sums[c] += x[p * channels + c];
}

void squares(const float* x, int64_t pixels, int64_t channels, const float* means, float* sums) {
  std::fill(sums, sums + channels, 0.0f);
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t c = 0; c < channels; ++c) {
      const float difference = x[p * channels + c] - means[c];
      sums[c] += difference * difference;
    }
}

void scaled(const float* x, int64_t pixels, int64_t channels, const float* scale, const float* shift, float* out) {
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t c = 0; c < channels; ++c) out[p * channels + c] = x[p * channels + c] * scale[c] + shift[c];
}

}  // namespace

ChannelFunctions reference_channel_functions() { return {&sums, &squares, &scaled}; }

}  // namespace loopwright
