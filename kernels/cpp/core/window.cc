#include "core/window.h"

namespace loopwright {

std::vector<WindowRun> window_runs(const Window& window, int64_t size, int64_t outputs) {
  std::vector<WindowRun> runs;
  for (int64_t output = 0; output < outputs; ++output) {
    const Taps taps = taps_between(window.origin(output), window.kernel, window.dilation, 0, size);
    if (!runs.empty() && runs.back().taps.first == taps.first && runs.back().taps.count == taps.count) {
      runs.back().end = output + 1;
    } else {
      runs.push_back({output, output + 1, taps});
    }
  }
  return runs;
}

}  // namespace loopwright
