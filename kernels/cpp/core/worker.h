// One thread of a pool.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "core/waiting.h"
#include "loopwright/float_mode.h"
#include "loopwright/thread_pool.h"

namespace loopwright {

// A body, and the CPU and the floating-point mode of its caller.
struct Call {
  ThreadBody body;
  int threads;
  int caller_cpu;
  FloatMode mode;
};

// What the threads of a pool share.
struct PoolState {
  std::vector<int> cpus;  // that its threads may use
  std::chrono::microseconds spin;
  std::atomic<int> shares{0};        // of the region of the caller that owns the threads; 0: no caller does
  std::atomic<unsigned> rests{0};    // how often the threads were sent to sleep
  std::atomic<bool> waiting{false};  // whether the caller sleeps until a thread has finished
};

class Worker {
 public:
  // `workers` has this one at thread - 1, and those that it wakes.
  Worker(int thread, PoolState& state, const std::vector<std::unique_ptr<Worker>>& workers);
  ~Worker();

  // Hands the call over. The worker must be finished(). A worker that sleeps does not see it before wake().
  void call(const Call& call);
  // Wakes the worker if it sleeps.
  void wake();
  // Takes the call back if the worker has not started it. Returns whether it did.
  bool take_back();
  bool finished() const { return state_.load(std::memory_order_acquire) == kFinished; }
  // Sleeps until the worker has finished, or shortly. The caller must have set PoolState::waiting.
  void sleep_until_finished() const;

 private:
  enum State : uint32_t { kFinished, kCalled, kStarted, kEnded };

  void work();
  // Returns when there is a call or the end.
  void wait_for_call();
  bool spin_for_call() const;
  void wake_others(int threads) const;
  void keep_off_the_caller(const Call& call) const;

  // All that a call moves between the two cores, in one cache line: each line takes about 0.1 µs from core to core. Nothing
  // else is in that line, or the worker would fetch it again whenever the other data changes.
  alignas(64) std::atomic<uint32_t> state_{kFinished};
  std::optional<Call> call_;
  alignas(64) std::atomic<bool> asleep_{false};
  const int thread_;
  PoolState& pool_;
  const std::vector<std::unique_ptr<Worker>>& workers_;
  std::thread system_thread_;  // last, because it uses the other members
};

}  // namespace loopwright
