// A call of a kernel that has no weights: its arguments are checked once, then it can run or be timed.
#pragma once

#include <pybind11/numpy.h>

#include <functional>
#include <vector>

namespace loopwright {

class FunctionCall {
 public:
  // `run` writes `out` and must keep the arrays that it reads alive. It is called without the GIL.
  FunctionCall(pybind11::array out, std::function<void()> run);

  // Runs once and returns the output.
  pybind11::array run() const;
  // Returns `repeat` samples. Each is the mean seconds of `number` consecutive runs.
  std::vector<double> time(int number, int repeat) const;

 private:
  pybind11::array out_;
  std::function<void()> run_;
};

}  // namespace loopwright
