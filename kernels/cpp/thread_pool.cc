#include "loopwright/thread_pool.h"

#include <immintrin.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace loopwright {
namespace {

// How long a waiting thread spins before it sleeps. Operators of one network follow each other within microseconds, and
// waking a sleeping thread costs tens of them.
constexpr auto kSpin = std::chrono::microseconds(200);

// Spins until `done()`; false once kSpin is over.
template <class Condition>
bool spin_until(const Condition& done) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      _mm_pause();
    }
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
    body_.emplace(body);
    threads_ = threads;
    pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
      const std::lock_guard<std::mutex> lock(sleep_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    body(0);
    const auto finished = [this] { return pending_.load(std::memory_order_acquire) == 0; };
    while (!spin_until(finished)) std::this_thread::yield();
  }

 private:
  [[noreturn]] void work(int thread, unsigned seen) {
    while (true) {
      const auto called = [this, seen] { return generation_.load(std::memory_order_acquire) != seen; };
      if (!spin_until(called)) {
        std::unique_lock<std::mutex> lock(sleep_);
        wake_.wait(lock, called);
      }
      ++seen;
      if (thread < threads_) (*body_)(thread);
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex caller_;  // held while a body runs
  std::vector<std::thread> workers_;
  std::optional<ThreadBody> body_;
  int threads_ = 0;
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
