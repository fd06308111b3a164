// Work in phases of several parts each, where a phase needs the results of the one before. Threads claim parts, first their
// own and then what is left. So a thread that starts late, or that the system suspends between parts, delays nobody.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "core/cpu_instructions.h"

namespace loopwright {

class Phases {
 public:
  Phases(int64_t phases, int parts) : phases_(phases), parts_(parts), claims_(new Claim[static_cast<size_t>(parts)]) {}

  // Runs f(phase, part) for the parts that the calling thread claims, until all phases are done. `own` is the part of each
  // phase that it claims first, because its caches have the data.
  template <class F>
  void work(int own, const F& f) {
    for (int64_t phase = 0;;) {
      const int64_t done = wait_for(phase * parts_);
      if (done >= (phase + 1) * parts_) phase = done / parts_;  // started late
      if (phase >= phases_) return;
      for (int i = 0; i < parts_; ++i) {
        if (i > 0 && done_.load(std::memory_order_acquire) >= (phase + 1) * parts_) break;
        const int part = (own + i) % parts_;
        if (!claim(part, phase)) continue;
        f(phase, part);
        done_.fetch_add(1, std::memory_order_acq_rel);
      }
      ++phase;
    }
  }

 private:
  struct alignas(64) Claim {
    std::atomic<int64_t> next{0};  // the first phase whose part is not claimed
  };

  bool claim(int part, int64_t phase) {
    std::atomic<int64_t>& next = claims_[static_cast<size_t>(part)].next;
    int64_t expected = phase;
    return next.load(std::memory_order_relaxed) == phase &&
           next.compare_exchange_strong(expected, phase + 1, std::memory_order_acq_rel);
  }

  // Returns the number of parts that are done, once there are at least `count`.
  int64_t wait_for(int64_t count) const {
    int64_t done = done_.load(std::memory_order_acquire);
    for (int turn = 1; done < count; done = done_.load(std::memory_order_acquire), ++turn) {
      spin_pause();
      if (turn % 64 == 0) std::this_thread::yield();
    }
    return done;
  }

  const int64_t phases_;
  const int parts_;
  std::unique_ptr<Claim[]> claims_;
  alignas(64) std::atomic<int64_t> done_{0};  // parts of all phases
};

}  // namespace loopwright
