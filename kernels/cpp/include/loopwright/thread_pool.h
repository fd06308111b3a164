// The thread pool that all operators of a process share. It creates threads when they are first needed and keeps them
// until the process ends.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>

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

// Runs body(0), ..., body(threads - 1) and returns when all have finished. The calling thread runs body(0) and then every
// share that no other thread has started, so shares may wait for each other only as far as body(0) waits for them too. All
// threads compute in the floating-point mode of the caller (float_mode.h).
// Returns false without running anything if the pool is serving another caller (which may be the calling body), or if the
// system cannot create enough threads. `body` must not throw.
bool try_run_on_pool(int threads, ThreadBody body);

// Runs f(0), ..., f(threads - 1) on the pool, or one after the other on the calling thread if the pool is serving another
// caller. So two operators that run on two threads neither wait for each other nor use more threads than cores.
template <class F>
void parallel(int threads, F&& f) {
  if (threads > 1 && try_run_on_pool(threads, ThreadBody(f))) return;
  for (int t = 0; t < threads; ++t) f(t);
}

// Lets idle threads of the pool sleep now, instead of after the millisecond for which they wait for the next call. Call it
// before other threads compute on the same cores.
void rest_pool();

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
