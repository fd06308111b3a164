// Thread pools. A pool belongs to a set of cores. It creates threads when they are first needed and keeps them. Operators run
// on the pool of the calling thread: that of a PoolScope, else the one of the process.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "loopwright/affinity.h"

namespace loopwright {

// A reference to a callable `body(thread)`, without the allocation of std::function.
class ThreadBody {
 public:
  template <class F>
  explicit ThreadBody(F& f)
      : context_(&f), call_([](void* context, int thread) { (*static_cast<F*>(context))(thread); }) {}
  void operator()(int thread) const { call_(context_, thread); }

 private:
  void* context_;
  void (*call_)(void*, int);
};

// Threads for one caller at a time.
class ThreadPool {
 public:
  // The time that an idle thread spins for the next call before it sleeps. Operators of a network follow each other within
  // microseconds, and waking a sleeping thread takes tens of microseconds.
  static constexpr std::chrono::microseconds kSpin{1000};

  // `cpus`: the logical CPUs of its threads; empty: those that the creating thread may use.
  explicit ThreadPool(std::vector<int> cpus = {}, std::chrono::microseconds spin = kSpin);
  // Ends the threads. No caller may use the pool.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Runs body(0), ..., body(threads - 1) and returns when all have finished. The calling thread runs body(0) and then every
  // share that no other thread has started, so shares may wait for each other only as far as body(0) waits for them too. All
  // threads compute in the floating-point mode of the caller (float_mode.h). Returns false without running anything if the pool
  // is serving another caller (which may be the calling body), or if the system cannot create enough threads. `body` must not
  // throw. After fork() the child starts with new threads.
  bool try_run(int threads, ThreadBody body);
  // Lets idle threads sleep now.
  void rest();
  const std::vector<int>& cpus() const { return cpus_; }

 private:
  class Crew;
  Crew& crew();

  const std::vector<int> cpus_;
  const std::chrono::microseconds spin_;
  std::atomic<Crew*> crew_{nullptr};  // of this process
};

// Makes a pool the one of the calling thread, and keeps the thread on the pool's CPUs if it was given some. Restores both at the
// end. No effect without a pool.
class PoolScope {
 public:
  explicit PoolScope(ThreadPool* pool);
  ~PoolScope();
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;

 private:
  ThreadPool* const pool_;
  ThreadPool* before_ = nullptr;
  std::optional<CpuMask> mask_;  // of the CPUs that the thread could use before
};

// As ThreadPool::try_run, on the pool of the calling thread.
bool try_run_on_pool(int threads, ThreadBody body);

// Runs f(0), ..., f(threads - 1) on the pool, or one after the other on the calling thread if the pool is serving another
// caller. So two operators that run on two threads neither wait for each other nor use more threads than cores.
template <class F>
void parallel(int threads, F&& f) {
  if (threads > 1 && try_run_on_pool(threads, ThreadBody(f))) return;
  for (int t = 0; t < threads; ++t) f(t);
}

// Lets idle threads of the calling thread's pool sleep now, instead of after ThreadPool::kSpin. Call it before other threads
// compute on the same cores.
void rest_pool();

// Chunks 0..count - 1 of a parallel region, which `threads` threads claim: first their own, consecutive ones, then those that
// are left of the thread that has most. So a thread that is slow, late or suspended delays its current chunk only. Which thread
// computes a chunk must not matter.
class Chunks {
 public:
  Chunks(int threads, int64_t count);

  // Calls f(chunk) for those that `thread` claims.
  template <class F>
  void work(int thread, const F& f) {
    int64_t chunk;
    while (claim(claims_[thread], chunk)) f(chunk);
    while (steal(chunk)) f(chunk);
  }
  // Calls f(chunk) for a thread's own.
  template <class F>
  void work_alone(int thread, const F& f) {
    int64_t chunk;
    while (claim(claims_[thread], chunk)) f(chunk);
  }

 private:
  struct alignas(64) Claim {
    std::atomic<int64_t> next;
    int64_t end;
  };
  static bool claim(Claim& of, int64_t& chunk) {
    if (of.next.load(std::memory_order_relaxed) >= of.end) return false;
    chunk = of.next.fetch_add(1, std::memory_order_relaxed);
    return chunk < of.end;
  }
  bool steal(int64_t& chunk);

  static constexpr int kFew = 16;  // threads whose claims need no memory of the heap
  const int threads_;
  Claim few_[kFew];
  std::unique_ptr<Claim[]> many_;
  Claim* claims_ = few_;
};

// Whether the calling thread runs shares one by one (simulation.h).
bool is_simulating();

// Runs f(slot, chunk) for each chunk of 0..chunks - 1 on at most `threads` threads, see Chunks. A slot, from 0 to threads - 1,
// belongs to one thread at a time. Slot t begins with chunks t * chunks / threads and up. Runs all chunks in slot 0 if the pool
// is serving another caller.
template <class F>
void parallel_chunks(int threads, int64_t chunks, F&& f) {
  const int used = static_cast<int>(std::min<int64_t>(threads, chunks));
  if (used > 1) {
    Chunks claims(used, chunks);
    const bool alone = is_simulating();
    auto body = [&](int slot) {
      const auto run = [&](int64_t chunk) { f(slot, chunk); };
      alone ? claims.work_alone(slot, run) : claims.work(slot, run);
    };
    if (try_run_on_pool(used, ThreadBody(body))) return;
  }
  for (int64_t chunk = 0; chunk < chunks; ++chunk) f(0, chunk);
}

// A barrier for the threads of one parallel region, usable any number of times.
class SpinBarrier {
 public:
  // Returns when `threads` threads have called it.
  void wait(int threads);

 private:
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> phase_{0};
};

// Returns how many floats a thread must read and write to be worth starting, by the model of this CPU. Computed once.
int64_t floats_worth_a_thread();

// Returns how many of `threads` threads to use for an operator that reads and writes `floats` floats in all and computes
// little. What takes about as long as starting a thread stays on the calling thread.
inline int threads_worth(int64_t floats, int threads) {
  if (threads <= 1) return 1;
  return static_cast<int>(std::clamp<int64_t>(floats / floats_worth_a_thread(), 1, threads));
}

}  // namespace loopwright
