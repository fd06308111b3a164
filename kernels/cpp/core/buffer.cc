#include "core/buffer.h"

#include <sys/mman.h>

#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include "loopwright/huge_pages.h"

namespace loopwright {
namespace {

constexpr size_t kLineBytes = 64;

size_t whole(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Huge pages, fresh from the system. Memory that the heap reuses already has small pages and keeps them. Fresh pages are zero
// and cost nothing before they are touched.
class Mapping {
 public:
  explicit Mapping(size_t wanted) : bytes_(whole(wanted, kHugePageBytes)) {
    const size_t reserved = bytes_ + kHugePageBytes;  // enough to start at a multiple of the page size
    void* data = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    char* first = static_cast<char*>(data);
    data_ = first + (whole(reinterpret_cast<uintptr_t>(first), kHugePageBytes) - reinterpret_cast<uintptr_t>(first));
    if (data_ > first) munmap(first, static_cast<size_t>(data_ - first));
    if (char* end = data_ + bytes_; end < first + reserved) munmap(end, static_cast<size_t>(first + reserved - end));
    advise_huge_pages(data_, bytes_);
  }
  ~Mapping() { munmap(data_, bytes_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // Returns the next unused `bytes` bytes.
  char* take(size_t bytes) { return data_ + std::exchange(used_, used_ + bytes); }
  size_t left() const { return bytes_ - used_; }

 private:
  char* data_;
  size_t bytes_, used_ = 0;
};

Buffer taken(const std::shared_ptr<Mapping>& mapping, size_t bytes) {
  return Buffer(reinterpret_cast<float*>(mapping->take(bytes)), BufferDeleter{mapping});
}

}  // namespace

Buffer make_buffer(int64_t floats) {
  const size_t bytes = whole(static_cast<size_t>(floats) * sizeof(float), kLineBytes);
  if (bytes >= kHugePageBytes) return taken(std::make_shared<Mapping>(bytes), bytes);
  Buffer buffer(static_cast<float*>(std::aligned_alloc(kLineBytes, bytes)));
  if (!buffer) throw std::bad_alloc();
  std::memset(buffer.get(), 0, bytes);
  return buffer;
}

Buffer make_weight_buffer(int64_t floats) {
  constexpr size_t kShared = 8 * kHugePageBytes;  // wastes less than the size of one huge page
  static std::mutex mutex;
  static std::shared_ptr<Mapping> mapping;
  const size_t bytes = whole(static_cast<size_t>(floats) * sizeof(float), kLineBytes);
  if (bytes >= kHugePageBytes) return make_buffer(floats);
  const std::lock_guard<std::mutex> lock(mutex);
  if (!mapping || mapping->left() < bytes) mapping = std::make_shared<Mapping>(kShared);
  return taken(mapping, bytes);
}

Buffer padded_copy(const float* from, int64_t count, int64_t floats) {
  if (!from) return {};
  Buffer copy = make_weight_buffer(floats);
  std::memcpy(copy.get(), from, static_cast<size_t>(count) * sizeof(float));
  return copy;
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

}  // namespace loopwright
