#include <thread>

#include "core/cpu_instructions.h"
#include "loopwright/thread_pool.h"

namespace loopwright {

void SpinBarrier::wait(int threads) {
  if (is_simulating()) return;
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

}  // namespace loopwright
