#include "core/batch.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>

namespace loopwright::serving {
namespace {

constexpr int kRuns = 5;
constexpr std::chrono::milliseconds kWarm{20};

// Part of a job in a run.
struct Part {
  size_t job;
  int64_t first, items;  // of the job
};

// Returns `items` items of a tensor, beginning with `first`, which share its memory.
Tensor slice(const Tensor& tensor, int64_t first, int64_t items) {
  const size_t item_bytes = tensor.bytes() / static_cast<size_t>(tensor.shape()[0]);
  std::vector<int64_t> shape = tensor.shape();
  shape[0] = items;
  return Tensor(tensor.type(), std::move(shape), std::make_shared<Tensor>(tensor),
                static_cast<const char*>(tensor.data()) + static_cast<size_t>(first) * item_bytes,
                static_cast<size_t>(items) * item_bytes);
}

// Returns tensors one behind the other. A single one is not copied.
Tensor concatenated(const std::vector<Tensor>& tensors) {
  if (tensors.size() == 1) return tensors.front();
  std::vector<int64_t> shape = tensors.front().shape();
  std::string bytes;
  shape[0] = 0;
  for (const Tensor& tensor : tensors) {
    shape[0] += tensor.shape()[0];
    bytes.append(tensor.view());
  }
  return Tensor::of(tensors.front().type(), std::move(shape), std::move(bytes));
}

void check_outputs(const std::vector<Tensor>& outputs, int64_t items) {
  for (const Tensor& output : outputs)
    if (output.shape().empty() || output.shape()[0] != items || output.type() == DataType::kBytes)
      throw Error(ErrorKind::kFailedPrecondition, "a batch of " + std::to_string(items) +
                                                      " gives an output of the shape " + text(output.shape()) +
                                                      ", so the model cannot have batches");
}

}  // namespace

Timed run_timed(Instance& instance, const std::vector<Tensor>& inputs) {
  const Clock::time_point start = Clock::now();
  std::vector<Tensor> outputs = instance.run(inputs);
  return {Clock::now() - start, std::move(outputs)};
}

Clock::duration least_time(const TimedRun& run, const std::vector<Tensor>& inputs) {
  Clock::duration least = Clock::duration::max();
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < kRuns && Clock::now() - begin < kWarm; ++i) least = std::min(least, run(inputs).time);
  return least;
}

std::vector<Tensor> zeros(const std::vector<TensorSpec>& specs, int64_t items) {
  std::vector<Tensor> result;
  for (const TensorSpec& spec : specs) {
    std::vector<int64_t> shape = spec.shape;
    for (size_t axis = 0; axis < shape.size(); ++axis)
      if (shape[axis] < 0) shape[axis] = axis == 0 ? items : 1;
    const size_t bytes = spec.type == DataType::kBytes ? sizeof(uint32_t) : element_bytes(spec.type);
    const auto count = static_cast<size_t>(element_count(shape));
    result.push_back(Tensor::of(spec.type, std::move(shape), std::string(count * bytes, '\0')));
  }
  return result;
}

Batches Batches::measure(const std::vector<int64_t>& sizes, const std::vector<TensorSpec>& inputs,
                         const TimedRun& run) {
  Batches result;
  result.sizes_ = sizes;
  for (const int64_t size : sizes) {
    const TimedRun checked = [&run, size](const std::vector<Tensor>& given) {
      Timed timed = run(given);
      check_outputs(timed.outputs, size);
      return timed;
    };
    result.secs_.push_back(std::chrono::duration<double>(least_time(checked, zeros(inputs, size))).count());
  }
  return result;
}

std::vector<int64_t> Batches::divide(int64_t items) const {
  // Many items: the best size first, so that what is left is small.
  std::vector<int64_t> result;
  const int64_t most = sizes_.back();
  while (items > 2 * most) {
    result.push_back(best());
    items -= best();
  }
  // The least seconds of n items, and the size that comes last.
  std::vector<double> least(static_cast<size_t>(items) + 1, std::numeric_limits<double>::infinity());
  std::vector<size_t> last(static_cast<size_t>(items) + 1, 0);
  least[0] = 0;
  for (size_t n = 1; n < least.size(); ++n)
    for (size_t i = 0; i < sizes_.size() && sizes_[i] <= static_cast<int64_t>(n); ++i) {
      const double secs = least[n - static_cast<size_t>(sizes_[i])] + secs_[i];
      if (secs < least[n]) {
        least[n] = secs;
        last[n] = i;
      }
    }
  const size_t before = result.size();
  for (auto n = static_cast<size_t>(items); n > 0; n -= static_cast<size_t>(sizes_[last[n]]))
    result.push_back(sizes_[last[n]]);
  std::sort(result.begin() + static_cast<ptrdiff_t>(before), result.end(), std::greater<>());
  return result;
}

int64_t Batches::best() const {
  size_t best = 0;
  for (size_t i = 1; i < sizes_.size(); ++i)
    if (secs_[i] / static_cast<double>(sizes_[i]) < secs_[best] / static_cast<double>(sizes_[best])) best = i;
  return sizes_[best];
}

void run_batches(const Job* jobs, const std::vector<int64_t>& sizes, Instance& instance,
                 const std::function<void(size_t, std::vector<Tensor>)>& done) {
  size_t job = 0;
  int64_t first = 0;  // the next item of the job
  // By output: the tensors of the job that has begun.
  std::vector<std::vector<Tensor>> begun;
  for (const int64_t size : sizes) {
    std::vector<Part> parts;
    for (int64_t left = size; left > 0;) {
      const int64_t items = std::min(left, jobs[job].items - first);
      parts.push_back({job, first, items});
      left -= items;
      first += items;
      if (first == jobs[job].items) {
        ++job;
        first = 0;
      }
    }
    std::vector<Tensor> inputs;
    for (size_t i = 0; i < jobs[0].inputs.size(); ++i) {
      std::vector<Tensor> pieces;
      for (const Part& part : parts) pieces.push_back(slice(jobs[part.job].inputs[i], part.first, part.items));
      inputs.push_back(concatenated(pieces));
    }
    const std::vector<Tensor> outputs = instance.run(inputs);
    check_outputs(outputs, size);
    int64_t place = 0;
    for (const Part& part : parts) {
      begun.resize(outputs.size());
      for (size_t i = 0; i < outputs.size(); ++i) begun[i].push_back(slice(outputs[i], place, part.items));
      place += part.items;
      if (part.first + part.items < jobs[part.job].items) continue;
      std::vector<Tensor> whole;
      for (const auto& pieces : begun) whole.push_back(concatenated(pieces));
      begun.clear();
      done(part.job, std::move(whole));
    }
  }
}

}  // namespace loopwright::serving
