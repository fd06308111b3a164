#include "loopwright/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <exception>
#include <thread>
#include <utility>

#include "core/simulated_run.h"
#include "core/worker.h"
#include "loopwright/machine_model.h"

namespace loopwright {
namespace {

// How often this process is the child of a fork. A child has none of the threads.
std::atomic<unsigned> forks{0};

unsigned forks_so_far() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);
  return forks.load(std::memory_order_relaxed);
}

// Never destroyed: its threads run until the process ends.
ThreadPool& process_pool() {
  static ThreadPool* const pool = new ThreadPool;
  return *pool;
}

thread_local ThreadPool* pool_of_thread = nullptr;

ThreadPool& current_pool() { return pool_of_thread ? *pool_of_thread : process_pool(); }

}  // namespace

// The threads of a pool in one process.
class ThreadPool::Crew {
 public:
  Crew(std::vector<int> cpus, std::chrono::microseconds spin) {
    state_.cpus = std::move(cpus);
    state_.spin = spin;
  }

  unsigned forks() const { return forks_; }
  void rest() { state_.rests.fetch_add(1, std::memory_order_relaxed); }

  bool try_run(int threads, ThreadBody body) {
    int none = 0;
    if (!state_.shares.compare_exchange_strong(none, threads, std::memory_order_acquire)) return false;
    const bool enough = grow(threads - 1);
    if (enough) {
      const Call call{body, threads, sched_getcpu(), FloatMode::current()};
      for (int t = 1; t < threads; ++t) worker(t).call(call);
      for (int t = 1; t < std::min(threads, 3); ++t) worker(t).wake();  // these wake the others
      body(0);
      // The caller runs the shares that no worker has started yet. So small operators are not shared, and the caller never
      // waits for a thread to wake up or to get a CPU.
      for (int t = 1; t < threads; ++t)
        if (worker(t).take_back()) body(t);
      for (int t = 1; t < threads; ++t) wait_for(worker(t));
    }
    state_.shares.store(0, std::memory_order_release);
    return enough;
  }

 private:
  Worker& worker(int thread) { return *workers_[static_cast<size_t>(thread - 1)]; }

  // Spins as long as a share usually takes longer than another. A worker that then still runs may be suspended: this thread
  // sleeps, so that the worker can get its CPU.
  void wait_for(const Worker& worker) {
    constexpr int kSpins = 64;  // about 0.1 ms
    const auto finished = [&worker] { return worker.finished(); };
    for (int i = 0; i < kSpins; ++i) {
      if (spin(finished)) return;
      std::this_thread::yield();
    }
    state_.waiting.store(true);
    while (!worker.finished()) worker.sleep_until_finished();
    state_.waiting.store(false, std::memory_order_relaxed);
  }

  // Creates workers until there are `count` of them. Returns false if the system cannot create more.
  bool grow(int count) {
    if (static_cast<int>(workers_.size()) >= count) return true;
    try {
      if (state_.cpus.empty()) state_.cpus = CpuMask::current().cpus();
      workers_.reserve(kMostThreads);  // workers read it while others are added
      if (count > kMostThreads) return false;
      for (int thread = static_cast<int>(workers_.size()) + 1; thread <= count; ++thread)
        workers_.push_back(std::make_unique<Worker>(thread, state_, workers_));
    } catch (const std::exception&) {
      return false;
    }
    return true;
  }

  static constexpr int kMostThreads = 1024;
  const unsigned forks_ = forks_so_far();
  PoolState state_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

ThreadPool::ThreadPool(std::vector<int> cpus, std::chrono::microseconds spin) : cpus_(std::move(cpus)), spin_(spin) {}

ThreadPool::~ThreadPool() {
  Crew* const crew = crew_.load();
  if (crew && crew->forks() == forks_so_far()) delete crew;  // otherwise its threads are those of the parent
}

ThreadPool::Crew& ThreadPool::crew() {
  Crew* current = crew_.load(std::memory_order_acquire);
  if (current && current->forks() == forks_so_far()) return *current;
  auto* const fresh = new Crew(cpus_, spin_);
  if (crew_.compare_exchange_strong(current, fresh)) return *fresh;
  delete fresh;  // another thread was first
  return *crew_.load(std::memory_order_acquire);
}

bool ThreadPool::try_run(int threads, ThreadBody body) { return crew().try_run(threads, body); }

void ThreadPool::rest() { crew().rest(); }

PoolScope::PoolScope(ThreadPool* pool) : pool_(pool) {
  if (!pool_) return;
  before_ = std::exchange(pool_of_thread, pool_);
  if (pool_->cpus().empty()) return;
  mask_ = CpuMask::current();
  CpuMask(pool_->cpus()).enter();
}

PoolScope::~PoolScope() {
  if (!pool_) return;
  pool_of_thread = before_;
  if (mask_) mask_->enter();
}

bool try_run_on_pool(int threads, ThreadBody body) {
  if (is_simulating()) {
    simulate(threads, body);
    return true;
  }
  return current_pool().try_run(threads, body);
}

void rest_pool() { current_pool().rest(); }

int64_t floats_worth_a_thread() {
  static const int64_t floats = host_model()->floats_worth_a_thread();
  return floats;
}

}  // namespace loopwright
