#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <vector>

namespace loopwright {

// Returns `repeat` samples. Each is the mean seconds of `number` consecutive calls of `run`, without the GIL.
template <class F>
std::vector<double> time_runs(int number, int repeat, const F& run) {
  if (number < 1 || repeat < 1) throw pybind11::value_error("number and repeat must be at least 1");
  std::vector<double> samples;
  const pybind11::gil_scoped_release released;
  for (int r = 0; r < repeat; ++r) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < number; ++i) run();
    samples.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / number);
  }
  return samples;
}

}  // namespace loopwright
