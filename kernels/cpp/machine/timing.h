// Timing of short functions, for measurements of the machine.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace loopwright {

inline double now_secs() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Returns the least seconds of f() in `runs` runs: noise only adds time.
template <class F>
double least_secs(int runs, F&& f) {
  double least = 1e30;
  for (int run = 0; run < runs; ++run) {
    const double start = now_secs();
    f();
    least = std::min(least, now_secs() - start);
  }
  return least;
}

}  // namespace loopwright
