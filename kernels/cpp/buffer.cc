#include "loopwright/buffer.h"

#include <emmintrin.h>
#include <sys/mman.h>

#include <cstring>
#include <mutex>
#include <new>

#include "loopwright/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {

namespace {

constexpr size_t kHugePage = size_t{2} << 20, kLineBytes = 64;

size_t whole(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// At least that many bytes, on huge pages where they fill one. Never null.
void* allocate(size_t wanted) {
  const size_t alignment = wanted >= kHugePage ? kHugePage : kLineBytes, bytes = whole(wanted, alignment);
  void* data = std::aligned_alloc(alignment, bytes);
  if (!data) throw std::bad_alloc();
  if (alignment == kHugePage) madvise(data, bytes, MADV_HUGEPAGE);  // advice: no harm where it is refused
  return data;
}

// Memory that is handed out from its begin to its end, and freed with the last of what lies in it. Pages nobody has
// been given cost nothing.
class Block {
 public:
  static constexpr size_t kBytes = 8 * kHugePage;

  // Null where it has no room.
  static Buffer take(const std::shared_ptr<Block>& block, size_t bytes) {
    if (!block || kBytes - block->used_ < bytes) return nullptr;
    auto* begin = reinterpret_cast<float*>(static_cast<char*>(block->data_.get()) + block->used_);
    block->used_ += bytes;
    return Buffer(begin, BufferDeleter{block});
  }

 private:
  std::unique_ptr<void, BufferDeleter> data_{allocate(kBytes)};
  size_t used_ = 0;
};

}  // namespace

Buffer make_buffer(int64_t floats) {
  const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
  Buffer buffer(static_cast<float*>(allocate(bytes)));
  std::memset(buffer.get(), 0, bytes);
  return buffer;
}

Buffer make_weight_buffer(int64_t floats) {
  static std::mutex mutex;
  static std::shared_ptr<Block> block;
  const size_t bytes = whole(static_cast<size_t>(floats) * sizeof(float), kLineBytes);
  if (bytes >= Block::kBytes / 8) return make_buffer(floats);  // at most as much is left behind
  const std::lock_guard<std::mutex> lock(mutex);
  Buffer buffer = Block::take(block, bytes);
  if (!buffer) {
    block = std::make_shared<Block>();
    buffer = Block::take(block, bytes);
  }
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
