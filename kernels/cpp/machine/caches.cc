// Puts data into the caches and out of them, for measurements.
#include "core/cpu_instructions.h"
#include "core/split.h"
#include "loopwright/machine.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

constexpr int64_t kLineBytes = 64;

}  // namespace

void distribute(void* data, int64_t bytes, int threads) {
  auto* first = static_cast<volatile char*>(data);
  parallel(threads, [&](int thread) {
    const int64_t end = split_begin(bytes, threads, thread + 1);
    for (int64_t i = split_begin(bytes, threads, thread); i < end; i += kLineBytes) first[i] = first[i];
  });
}

void evict(const void* data, int64_t bytes, int threads) {
  const char* first = static_cast<const char*>(data);
  parallel(threads, [&](int thread) {
    const int64_t end = split_begin(bytes, threads, thread + 1);
    for (int64_t i = split_begin(bytes, threads, thread); i < end; i += kLineBytes) flush_cache_line(first + i);
    if (end > 0) flush_cache_line(first + end - 1);  // the last line, if the first one is partial
    memory_fence();
  });
}

}  // namespace loopwright
