// Several requests in one run, without padding: a program is compiled for some sizes of the batch, and a number of items is divided
// into these.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/queue.h"
#include "loopwright/serving/runtime.h"

namespace loopwright::serving {

// A run on an instance, which returns its time and its outputs.
struct Timed {
  Clock::duration time;
  std::vector<Tensor> outputs;
};
using TimedRun = std::function<Timed(const std::vector<Tensor>&)>;

// Runs an instance and measures the time.
Timed run_timed(Instance& instance, const std::vector<Tensor>& inputs);
// Runs until it is warm: five times, or for 20 ms. Returns the least time.
Clock::duration least_time(const TimedRun& run, const std::vector<Tensor>& inputs);

// Returns tensors of zeros. Open sizes are 1, but for a first one of `items`.
std::vector<Tensor> zeros(const std::vector<TensorSpec>& specs, int64_t items);

// The sizes of batches that a model can run, ascending and beginning with 1, and the measured seconds of each.
class Batches {
 public:
  // Measures each size on zeros. Throws Error if an output has another first dimension than its batch.
  static Batches measure(const std::vector<int64_t>& sizes, const std::vector<TensorSpec>& inputs, const TimedRun& run);

  // Divides a number of items into sizes, so that the sum of their seconds is least; the largest first.
  std::vector<int64_t> divide(int64_t items) const;
  // The size whose seconds per item are least: more items at a time gain nothing.
  int64_t best() const;

 private:
  std::vector<int64_t> sizes_;
  std::vector<double> secs_;
};

// Runs the items of several jobs, whose inputs have the same shapes but for the first dimension, in batches of these sizes. Calls
// `done(job, outputs)` for each job when its last item is computed.
void run_batches(const Job* jobs, const std::vector<int64_t>& sizes, Instance& instance,
                 const std::function<void(size_t, std::vector<Tensor>)>& done);

}  // namespace loopwright::serving
