#include "loopwright/buffer.h"

#include <emmintrin.h>
#include <sys/mman.h>

#include <cstring>
#include <new>

#include "loopwright/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {

Buffer make_buffer(int64_t floats) {
  constexpr size_t kHugePage = size_t{2} << 20, kCacheLine = 64;
  const size_t wanted = static_cast<size_t>(floats) * sizeof(float);
  const size_t alignment = wanted >= kHugePage ? kHugePage : kCacheLine;
  const size_t bytes = (wanted + alignment - 1) / alignment * alignment;
  Buffer buffer(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
  if (!buffer) throw std::bad_alloc();
  if (alignment == kHugePage) madvise(buffer.get(), bytes, MADV_HUGEPAGE);  // advice: no harm where it is refused
  std::memset(buffer.get(), 0, bytes);
  return buffer;
}

float* scratch(int64_t floats, ScratchOf user) {
  struct Kept {
    Buffer buffer;
    int64_t floats = 0;
  };
  thread_local Kept kept[3];
  Kept& own = kept[static_cast<int>(user)];
  if (own.floats < floats) own = {make_buffer(floats), floats};
  return own.buffer.get();
}

void distribute(void* data, int64_t bytes, int threads) {
  constexpr int64_t kLine = 64;
  auto* first = static_cast<volatile char*>(data);
  parallel(threads, [&](int thread) {
    const int64_t end = split_begin(bytes, threads, thread + 1);
    for (int64_t i = split_begin(bytes, threads, thread); i < end; i += kLine) first[i] = first[i];
  });
}

void evict(const void* data, int64_t bytes, int threads) {
  constexpr int64_t kLine = 64;
  const char* first = static_cast<const char*>(data);
  parallel(threads, [&](int thread) {
    const int64_t end = split_begin(bytes, threads, thread + 1);
    for (int64_t i = split_begin(bytes, threads, thread); i < end; i += kLine) _mm_clflush(first + i);
    if (end > 0) _mm_clflush(first + end - 1);  // the last line, where the first is not whole
    _mm_mfence();
  });
}

}  // namespace loopwright
