#include "loopwright/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/cpu_instructions.h"

namespace loopwright {
namespace {

// Restricts the calling thread to `cpus`; where that is refused, the system's choice stands.
void run_on(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

// How long a worker without work spins before it sleeps. Operators of one network follow each other within
// microseconds, and waking a sleeping thread costs tens of them.
constexpr auto kSpin = std::chrono::milliseconds(1);

// The CPUs that the calling thread may run on.
std::vector<int> allowed_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

// Some microseconds of waiting for `done()`; whether it is.
template <class Condition>
bool spin(const Condition& done) {
  for (int i = 0; i < 64; ++i) {
    if (done()) return true;
    spin_pause();
  }
  return false;
}

// The same for kSpin.
template <class Condition>
bool spin_long(const Condition& done) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    if (spin(done)) return true;
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

// A body, and where its caller runs.
struct Call {
  ThreadBody body;
  int threads;
  int caller_cpu;
};

// One thread of the pool.
class Worker {
 public:
  explicit Worker(int thread) : thread_(thread), system_thread_([this] { work(); }) {}

  // `call` must stay until it is taken back or finished().
  void start(const Call& call) {
    finished_.store(false, std::memory_order_relaxed);
    {
      const std::lock_guard<std::mutex> lock(sleep_);
      call_.store(&call, std::memory_order_release);
    }
    wake_.notify_one();
  }
  // Whether the worker had not begun its call; then it will not.
  bool take_back() {
    if (!call_.exchange(nullptr, std::memory_order_relaxed)) return false;
    finished_.store(true, std::memory_order_relaxed);
    return true;
  }
  bool finished() const { return finished_.load(std::memory_order_acquire); }

 private:
  [[noreturn]] void work() {
    const std::vector<int> cpus = allowed_cpus();
    const auto called = [this] { return call_.load(std::memory_order_acquire) != nullptr; };
    while (true) {
      if (!spin_long(called)) {
        std::unique_lock<std::mutex> lock(sleep_);
        wake_.wait(lock, called);
      }
      const Call* call = call_.exchange(nullptr, std::memory_order_acquire);
      if (!call) continue;
      keep_off_the_caller(*call, cpus);
      call->body(thread_);
      finished_.store(true, std::memory_order_release);
    }
  }

  // Where the calling worker finds itself on the caller's CPU, it moves to the one `thread_` places behind that. Left
  // to itself, the system at times keeps a worker with the very thread that waits for it, next to an idle CPU. It is
  // not tied down there, for the caller may be the next to move.
  void keep_off_the_caller(const Call& call, const std::vector<int>& cpus) const {
    if (sched_getcpu() != call.caller_cpu || static_cast<int>(cpus.size()) < call.threads) return;
    const auto caller = std::find(cpus.begin(), cpus.end(), call.caller_cpu);
    if (caller == cpus.end()) return;
    run_on({cpus[static_cast<size_t>(caller - cpus.begin() + thread_) % cpus.size()]});
    run_on(cpus);
  }

  const int thread_;
  std::atomic<const Call*> call_{nullptr};
  std::atomic<bool> finished_{true};
  std::mutex sleep_;
  std::condition_variable wake_;
  std::thread system_thread_;  // last, for it uses the others
};

class Pool {
 public:
  bool try_run(int threads, ThreadBody body) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    const bool enough = grow(threads - 1);
    if (enough) {
      const Call call{body, threads, sched_getcpu()};
      for (int t = 1; t < threads; ++t) workers_[t - 1]->start(call);
      body(0);
      // What a worker has not begun by now, the caller does itself: so what is too small to share is not shared, and
      // nobody waits for a thread to wake up or to get a CPU.
      for (int t = 1; t < threads; ++t)
        if (workers_[t - 1]->take_back()) body(t);
      for (int t = 1; t < threads; ++t) {
        // Never asleep, but ready to make way: a worker may wait for this very CPU.
        const auto finished = [&worker = *workers_[t - 1]] { return worker.finished(); };
        while (!spin(finished)) std::this_thread::yield();
      }
    }
    busy_.store(false, std::memory_order_release);
    return enough;
  }

 private:
  // Whether there are `count` workers; the system may refuse to make more.
  bool grow(int count) {
    try {
      workers_.reserve(static_cast<size_t>(count));
      for (int thread = static_cast<int>(workers_.size()) + 1; thread <= count; ++thread)
        workers_.push_back(std::make_unique<Worker>(thread));
    } catch (const std::exception&) {
      return false;
    }
    return true;
  }

  std::atomic<bool> busy_{false};  // while a body runs, the threads and the workers' calls are its caller's
  std::vector<std::unique_ptr<Worker>> workers_;
};

// Never destroyed: its threads run until the process ends, and after a fork the child, which has none of them, starts
// with a pool of its own.
std::atomic<Pool*> pool{nullptr};

}  // namespace

void SpinBarrier::wait(int threads) {
  const unsigned phase = phase_.load(std::memory_order_relaxed);  // cannot change before this thread has arrived
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int turn = 1; phase_.load(std::memory_order_acquire) == phase; ++turn) {
    spin_pause();
    if (turn % 64 == 0) std::this_thread::yield();
  }
}

bool try_run_on_pool(int threads, ThreadBody body) {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { pool.store(new Pool); });
  static_cast<void>(registered);
  Pool* current = pool.load(std::memory_order_acquire);
  if (!current) {
    auto* fresh = new Pool;
    current = pool.compare_exchange_strong(current, fresh) ? fresh : (delete fresh, pool.load());
  }
  return current->try_run(threads, body);
}

}  // namespace loopwright
