// Instructions of the CPU that have no equivalent in C++.
#pragma once

#ifdef __x86_64__
#include <emmintrin.h>
#else
#error "define these functions for this CPU"
#endif

namespace loopwright {

// Hints to the CPU that the calling thread is spinning.
inline void spin_pause() { _mm_pause(); }

// Evicts the cache line at an address from all caches.
inline void flush_cache_line(const void* address) { _mm_clflush(address); }

// Orders all loads, stores and flushes before it with those after it.
inline void memory_fence() { _mm_mfence(); }

}  // namespace loopwright
