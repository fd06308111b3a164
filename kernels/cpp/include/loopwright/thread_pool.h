// The one thread pool of a process. Threads are made when first needed and live as long as the process.
#pragma once

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

// Runs body(0), ..., body(threads - 1) and returns when all have finished; body(0) runs on the calling thread. While
// the pool serves another caller, the calling thread runs them all by itself, one after the other: two operators called
// from two threads never wait for each other's workers and never use more threads than cores. `body` must not throw.
void run_on_pool(int threads, ThreadBody body);

template <class F>
void parallel(int threads, F&& f) {
  if (threads <= 1) {
    f(0);
  } else {
    run_on_pool(threads, ThreadBody(f));
  }
}

}  // namespace loopwright
