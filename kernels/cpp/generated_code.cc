#include "loopwright/generated_code.h"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

thread_local int allowed_threads = 0;
FailureReasons failure_reasons{};

// Those that this process may use.
int cpus() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

class Barrier {
 public:
  void wait(int tasks) {
    const unsigned phase = phase_.load(std::memory_order_relaxed);  // does not end before this task has arrived
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == tasks) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int turn = 1; phase_.load(std::memory_order_acquire) == phase; ++turn) {
      _mm_pause();
      if (turn % 64 == 0) std::this_thread::yield();
    }
  }

 private:
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> phase_{0};
};

// What the first failed task has returned, and its reason.
class Failure {
 public:
  void record(int status, int task) {
    int none = 0;
    if (!status_.compare_exchange_strong(none, status, std::memory_order_acq_rel)) return;
    if (task != 0 && failure_reasons.take) failure_reasons.take(&reason_);
  }
  int raise() const {
    if (reason_) {
      failure_reasons.put(reason_);
      failure_reasons.release(reason_);
    }
    return status_.load(std::memory_order_acquire);
  }

 private:
  std::atomic<int> status_{0};
  void* reason_ = nullptr;
};

}  // namespace

int launch_tasks(Task task, void* closure, int tasks) {
  const int threads = allowed_threads > 0 ? allowed_threads : cpus();
  const int count = tasks > 0 ? std::min(tasks, threads) : threads;
  if (count > 1) {
    Barrier barrier;
    TaskGroup group{&barrier, count};
    Failure failure;
    auto body = [&](int t) {
      if (const int status = task(t, &group, closure)) failure.record(status, t);
    };
    if (try_run_on_pool(count, ThreadBody(body))) return failure.raise();
  }
  TaskGroup alone{nullptr, 1};
  return task(0, &alone, closure);
}

int wait_for_tasks(int, TaskGroup* group) {
  if (group->tasks > 1) static_cast<Barrier*>(group->barrier)->wait(group->tasks);
  return 0;
}

int set_generated_code_threads(int threads) {
  const int before = allowed_threads;
  allowed_threads = threads;
  return before;
}

void set_failure_reasons(const FailureReasons& functions) { failure_reasons = functions; }

}  // namespace loopwright
