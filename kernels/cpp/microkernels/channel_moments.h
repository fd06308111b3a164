// Sums over the pixels of an image, one per channel, and the scale and shift of channels.
#pragma once

#include <cstdint>

namespace loopwright {

// `pixels` pixels of `channels` floats without gaps; the other arrays have one float per channel.
struct ChannelFunctions {
  // sums = the sum of the pixels.
  void (*sums)(const float* x, int64_t pixels, int64_t channels, float* sums) = nullptr;
  // sums = the sum of (x - means)².
  void (*squares)(const float* x, int64_t pixels, int64_t channels, const float* means, float* sums) = nullptr;
  // out = x * scale + shift; `out` may be x.
  void (*scaled)(const float* x, int64_t pixels, int64_t channels, const float* scale, const float* shift,
                 float* out) = nullptr;
};

}  // namespace loopwright
