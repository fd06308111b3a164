#include "loopwright/thread_pool.h"

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

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
    _mm_pause();
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

class Pool {
 public:
  void run(int threads, ThreadBody body) {
    const std::unique_lock<std::mutex> caller(caller_, std::try_to_lock);
    if (!caller.owns_lock()) {
      for (int t = 0; t < threads; ++t) body(t);
      return;
    }
    while (static_cast<int>(workers_.size()) < threads - 1) {
      const int thread = static_cast<int>(workers_.size()) + 1;
      workers_.emplace_back([this, thread, seen = generation_.load()] { work(thread, seen); });
    }
    caller_cpu_ = sched_getcpu();
    body_.emplace(body);
    threads_ = threads;
    pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
      const std::lock_guard<std::mutex> lock(sleep_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    body(0);
    // Never asleep, but ready to make way: a worker may wait for this very CPU.
    const auto finished = [this] { return pending_.load(std::memory_order_acquire) == 0; };
    while (!spin(finished)) std::this_thread::yield();
  }

 private:
  // Where the calling worker finds itself on the caller's CPU, it moves to the one `thread` places behind that. Left to
  // itself, the system at times keeps a worker with the very thread that waits for it, next to an idle CPU. It is not
  // tied down there, for the caller may be the next to move.
  void keep_off_the_caller(int thread, const std::vector<int>& cpus) const {
    if (sched_getcpu() != caller_cpu_ || static_cast<int>(cpus.size()) < threads_) return;
    const auto caller = std::find(cpus.begin(), cpus.end(), caller_cpu_);
    if (caller == cpus.end()) return;
    run_on({cpus[static_cast<size_t>(caller - cpus.begin() + thread) % cpus.size()]});
    run_on(cpus);
  }

  [[noreturn]] void work(int thread, unsigned seen) {
    const std::vector<int> cpus = allowed_cpus();
    while (true) {
      const auto called = [this, seen] { return generation_.load(std::memory_order_acquire) != seen; };
      if (!spin_long(called)) {
        std::unique_lock<std::mutex> lock(sleep_);
        wake_.wait(lock, called);
      }
      ++seen;
      if (thread < threads_) {
        keep_off_the_caller(thread, cpus);
        (*body_)(thread);
      }
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex caller_;  // held while a body runs
  std::vector<std::thread> workers_;
  std::optional<ThreadBody> body_;
  int threads_ = 0;
  int caller_cpu_ = 0;
  std::atomic<int> pending_{0};
  std::atomic<unsigned> generation_{0};
  std::mutex sleep_;
  std::condition_variable wake_;
};

// Never destroyed: its threads run until the process ends, and after a fork the child, which has none of them, starts
// with a pool of its own.
std::atomic<Pool*> pool{nullptr};

}  // namespace

void run_on_pool(int threads, ThreadBody body) {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { pool.store(new Pool); });
  static_cast<void>(registered);
  Pool* current = pool.load(std::memory_order_acquire);
  if (!current) {
    auto* fresh = new Pool;
    current = pool.compare_exchange_strong(current, fresh) ? fresh : (delete fresh, pool.load());
  }
  current->run(threads, body);
}

}  // namespace loopwright
