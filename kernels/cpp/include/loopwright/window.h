// Windows that slide along one axis of an image, and which part of each meets it.
#pragma once

#include <cstdint>
#include <vector>

#include "loopwright/taps.h"

namespace loopwright {

// Windows of `kernel` taps on `size` pixels.
struct WindowAxis {
  int64_t size, kernel, stride, padding, dilation;

  // The pixel under the first tap of an output's window; may lie outside the image.
  int64_t origin(int64_t output) const { return output * stride - padding; }
};

// Neighbouring outputs begin..end whose windows have the same taps inside the image.
struct WindowRun {
  int64_t begin, end;
  Taps taps;
};

// `outputs` outputs as the fewest runs: mostly some at either border, and one for all between.
std::vector<WindowRun> window_runs(const WindowAxis& axis, int64_t outputs);

}  // namespace loopwright
