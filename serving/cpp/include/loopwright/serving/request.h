// A request for one run of a model, and its result.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loopwright/serving/error.h"
#include "loopwright/serving/tensor.h"

namespace loopwright::serving {

using Clock = std::chrono::steady_clock;

constexpr int kLastPriority = 1'000'000;  // of requests without a priority

struct WantedOutput {
  std::string name;
  int64_t classes = 0;  // the largest values, as strings "VALUE:INDEX[:LABEL]", instead of the tensor; 0: the tensor
};

struct Request {
  std::string model;
  std::string version;  // a number, a label, or empty: the version that the model's labels select
  std::string id;       // returned as it is
  std::vector<NamedTensor> inputs;
  std::vector<WantedOutput> outputs;  // empty: all
  int priority = kLastPriority;       // smaller ones run first
  std::optional<Clock::time_point> deadline;
  // Set by a caller who no longer needs the result. A request in the queue is then dropped.
  std::shared_ptr<std::atomic<bool>> cancelled;
};

struct Response {
  std::string model;
  int64_t version = 0;
  std::string id;
  std::vector<NamedTensor> outputs;  // in the order of the model, or as wanted
};

// The response, or an error.
struct Result {
  Response response;
  std::optional<Error> error;
};

// Called once, on a thread of the engine; must not block.
using Done = std::function<void(Result)>;

}  // namespace loopwright::serving
