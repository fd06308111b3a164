// Normalization of groups of channels over NHWC images.
#pragma once

#include <cstdint>

#include "loopwright/isa.h"

namespace loopwright {

// x and out (images, pixels, channels) without gaps, none of them empty; gamma and beta have one float per channel. `out` may
// be x, but must not overlap an array otherwise. `groups` divides the channels.
struct GroupNormArgs {
  const float* x;
  const float* gamma;
  const float* beta;
  float* out;
  int64_t images, pixels, channels, groups;
  float epsilon;
};

// For each image and each group of channels / groups neighboring channels:
//   out = gamma * (x - mean(x)) / sqrt(variance(x) + epsilon) + beta
// (Wu, He: Group Normalization, 2018; with one channel per group, Ulyanov, Vedaldi, Lempitsky: Instance Normalization, 2016).
// Uses up to `threads` threads of the pool. Thread-safe.
void group_norm(const GroupNormArgs& args, Isa isa, int threads);

}  // namespace loopwright
