// A request for one run of a model, and its result.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loopwright/serving/error.h"
#include "loopwright/serving/tensor.h"

namespace loopwright::serving {

using Clock = std::chrono::steady_clock;

constexpr int kLastPriority = 1'000'000;  // of requests without a priority

// The span that encloses what is done for a request, in the terms of W3C Trace Context. A small value: a request that is not traced
// costs nothing more.
struct TraceContext {
  std::array<uint8_t, 16> trace{};
  std::array<uint8_t, 8> span{};
  bool is_sampled = false;  // nothing is traced otherwise
};

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
  TraceContext trace;
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
  int64_t items = 0;  // the size of the request's batch; 0: the model has none, or it was not read
};

// The run of a request that is traced.
struct TracedRun {
  TraceContext parent;
  std::string_view model;  // valid during the call
  int64_t version;
  Clock::time_point arrival, start, end;
  int64_t items;  // of the request, as in Result
  int64_t batch;  // items that were computed together, with those of other requests
  bool is_failed;
};

// Called once, on a thread of the engine; must not block.
using Done = std::function<void(Result)>;

}  // namespace loopwright::serving
