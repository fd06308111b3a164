// Waiting for another thread: first by spinning, then by sleeping.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "core/cpu_instructions.h"

namespace loopwright {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t), "the system waits for the value itself");

// Sleeps while `word` has the value `value`. May return earlier.
inline void sleep_while(const std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

// Wakes the threads that sleep on `word`.
inline void wake_all(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
}

// Waits some microseconds for done(), and returns its value.
template <class Condition>
bool spin(const Condition& done) {
  for (int i = 0; i < 64; ++i) {
    if (done()) return true;
    spin_pause();
  }
  return false;
}

}  // namespace loopwright
