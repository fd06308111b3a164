#include "loopwright/buffer.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

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

float* scratch(int64_t floats) {
  thread_local Buffer buffer;
  thread_local int64_t size = 0;
  if (size < floats) {
    buffer = make_buffer(floats);
    size = floats;
  }
  return buffer.get();
}

}  // namespace loopwright
