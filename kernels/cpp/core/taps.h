// The taps of a window along one axis that are inside the image.
#pragma once

#include <cstdint>

namespace loopwright {

struct Taps {
  int64_t first, count;
};

// Returns which of `count` taps at start, start + dilation, ... are in begin..end - 1.
static inline Taps taps_between(int64_t start, int64_t count, int64_t dilation, int64_t begin, int64_t end) {
  int64_t first = 0;
  while (first < count && start + first * dilation < begin) ++first;
  while (first < count && start + (count - 1) * dilation >= end) --count;
  return {first, count - first};
}

}  // namespace loopwright
