// What all calls of the gRPC server use.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "grpc/budget.h"
#include "inference.grpc.pb.h"
#include "loopwright/serving/engine.h"
#include "protocol/rejections.h"
#include "protocol/shared_memory.h"
#include "trace/tracer.h"

namespace loopwright::serving::rpc {

// Streams are read as bytes: gRPC takes a message that cannot be parsed for the end of the stream.
using Service =
    inference::GRPCInferenceService::WithRawMethod_ModelStreamInfer<inference::GRPCInferenceService::AsyncService>;

// Counts the calls that the engine may still answer.
class Calls {
 public:
  void begin() {
    const std::lock_guard lock(mutex_);
    ++open_;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    if (--open_ == 0) ended_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return open_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  int open_ = 0;
};

constexpr size_t kMostMemory = size_t{1} << 30;

// What all calls use.
struct Shared {
  Engine& engine;
  SharedMemory& memory;
  Rejections& rejections;
  trace::Tracer* const tracer;  // null: nothing is traced
  const std::string version;
  Service service;
  Calls calls;
  Budget budget{kMostMemory};  // of requests, and of responses of streams that were not sent yet
};

grpc::StatusCode code_of(ErrorKind kind);
grpc::Status status_of(const Error& error);
// Sets the deadline of a call on the engine's clock, if it has one and it is earlier.
void take_deadline(const grpc::ServerContext& context, Request& request);
// The traceparent of a call; empty if there is not exactly one.
std::string_view traceparent_of(const grpc::ServerContext& context);
// Begins the span of a request, such as "inference.GRPCInferenceService/ModelInfer"; null if it is not traced.
std::shared_ptr<trace::RequestSpan> begin_span(trace::Tracer& tracer, const char* method, std::string_view traceparent);
void end_span(trace::RequestSpan& span, grpc::StatusCode code);

}  // namespace loopwright::serving::rpc
