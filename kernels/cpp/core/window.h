// Outputs whose windows have the same taps inside the image.
#pragma once

#include <cstdint>
#include <vector>

#include "core/taps.h"
#include "loopwright/geometry.h"

namespace loopwright {

// Consecutive outputs begin..end - 1 whose windows have the same taps inside the image.
struct WindowRun {
  int64_t begin, end;
  Taps taps;
};

// Splits the `outputs` outputs of an axis of `size` pixels into the fewest runs: usually some at either border, and one
// for all between.
std::vector<WindowRun> window_runs(const Window& window, int64_t size, int64_t outputs);

}  // namespace loopwright
