// The one thread pool of a process. Threads are made when first needed and live as long as the process.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace loopwright {

// A call to `body(context, thread)` without the allocation of std::function.
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

// Runs body(0), ..., body(threads - 1) and returns when all have finished. The calling thread runs body(0) and then
// every share that no other thread has begun; so shares may wait for each other only as far as body(0) waits for them
// too. Returns false, and has run nothing, while the pool serves another caller (which may be the very body that calls)
// and where the system refuses more threads. `body` must not throw.
bool try_run_on_pool(int threads, ThreadBody body);

// Runs f(0), ..., f(threads - 1): on the pool, or, where that serves another caller, one after the other on the calling
// thread. So two operators called from two threads never wait for each other's workers and never use more threads than
// cores.
template <class F>
void parallel(int threads, F&& f) {
  if (threads > 1 && try_run_on_pool(threads, ThreadBody(f))) return;
  for (int t = 0; t < threads; ++t) f(t);
}

// How many of `threads` are worth asking to read and write `floats` in all, where little is done with each: what takes
// about as long as the call itself stays on the calling thread.
inline int threads_worth(int64_t floats, int threads) {
  constexpr int64_t kFloatsAThread = 16384;
  return static_cast<int>(std::clamp<int64_t>(floats / kFloatsAThread, 1, threads));
}

}  // namespace loopwright
