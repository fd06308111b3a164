// Streams of ModelStreamInfer.
#pragma once

#include <atomic>
#include <mutex>
#include <set>

#include "grpc/shared.h"

namespace loopwright::serving::rpc {

class InferStream;

// The open streams of a server. A client may keep one open without requests, for which a server that stops must not wait.
class Streams {
 public:
  void add(InferStream& stream);
  void remove(InferStream& stream);
  bool is_draining() const { return draining_; }
  // Ends each stream when its accepted requests are answered.
  void drain();

 private:
  std::mutex mutex_;
  std::set<InferStream*> open_;
  std::atomic<bool> draining_{false};
};

// Waits for a stream, serves it when it comes, and waits for the next one.
void accept_stream(Shared& shared, grpc::ServerCompletionQueue& queue, Streams& streams);

}  // namespace loopwright::serving::rpc
