#include "core/worker.h"

#include <sched.h>

#include <algorithm>

#include "loopwright/affinity.h"

namespace loopwright {

Worker::Worker(int thread, PoolState& state, const std::vector<std::unique_ptr<Worker>>& workers)
    : thread_(thread), pool_(state), workers_(workers), system_thread_([this] { work(); }) {}

Worker::~Worker() {
  state_.store(kEnded);
  wake();
  system_thread_.join();
}

void Worker::call(const Call& call) {
  call_ = call;
  state_.store(kCalled);
}

void Worker::wake() {
  // Either this sees that the worker sleeps, or the worker sees the call before it does: both orders are sequentially
  // consistent.
  if (asleep_.load()) wake_all(state_);
}

bool Worker::take_back() {
  uint32_t called = kCalled;
  return state_.load(std::memory_order_relaxed) == called &&
         state_.compare_exchange_strong(called, kFinished, std::memory_order_relaxed);
}

void Worker::sleep_until_finished() const { sleep_while(state_, kStarted); }

void Worker::work() {
  CpuMask(pool_.cpus).enter();
  while (true) {
    wait_for_call();
    uint32_t state = kCalled;
    if (!state_.compare_exchange_strong(state, kStarted, std::memory_order_acquire)) {
      if (state == kEnded) return;
      continue;  // taken back
    }
    const Call call = *call_;
    wake_others(call.threads);
    keep_off_the_caller(call);
    call.mode.enter();
    call.body(thread_);
    state_.exchange(kFinished);  // ordered before the load, as the store of `waiting` is before that of this state
    if (pool_.waiting.load()) wake_all(state_);
  }
}

void Worker::wait_for_call() {
  if (spin_for_call()) return;
  asleep_.store(true);
  while (state_.load() == kFinished) sleep_while(state_, kFinished);
  asleep_.store(false, std::memory_order_relaxed);
}

bool Worker::spin_for_call() const {
  // A region that stays open for this long after the own share is finished waits for a thread that is suspended. Its CPU may
  // then run that thread.
  constexpr std::chrono::microseconds kOpen{50};
  const auto called = [this] { return state_.load(std::memory_order_relaxed) != kFinished; };
  const auto start = std::chrono::steady_clock::now();
  const unsigned rests = pool_.rests.load(std::memory_order_relaxed);
  do {
    if (spin(called)) return true;
    const auto waited = std::chrono::steady_clock::now() - start;
    if (waited >= pool_.spin) return false;
    if (waited >= kOpen && thread_ < pool_.shares.load(std::memory_order_relaxed)) return false;
  } while (pool_.rests.load(std::memory_order_relaxed) == rests);
  return false;
}

// Threads wake each other as a tree, because waking one takes its waker some microseconds.
void Worker::wake_others(int threads) const {
  for (int other = 2 * thread_ + 1; other <= 2 * thread_ + 2 && other < threads; ++other)
    workers_[static_cast<size_t>(other - 1)]->wake();
}

// Moves the calling worker off the CPU of the caller, to the one `thread_` places after it. The system alone sometimes leaves
// a worker on the CPU of the thread that waits for it, while another CPU is idle. The worker is not pinned there, because the
// caller may move next.
void Worker::keep_off_the_caller(const Call& call) const {
  const std::vector<int>& cpus = pool_.cpus;
  if (sched_getcpu() != call.caller_cpu || static_cast<int>(cpus.size()) < call.threads) return;
  const auto caller = std::find(cpus.begin(), cpus.end(), call.caller_cpu);
  if (caller == cpus.end()) return;
  const CpuMask before = CpuMask::current();  // it may have been changed from outside
  CpuMask({cpus[static_cast<size_t>(caller - cpus.begin() + thread_) % cpus.size()]}).enter();
  before.enter();
}

}  // namespace loopwright
