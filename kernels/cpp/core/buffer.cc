#include "core/buffer.h"

#include <sys/mman.h>

#include <cstring>
#include <mutex>
#include <new>
#include <utility>

namespace loopwright {
namespace {

constexpr size_t kHugePage = size_t{2} << 20, kLineBytes = 64;

size_t whole(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Whole huge pages, fresh from the system: memory that the heap gives out again has small pages already, and keeps them.
// They cost nothing before they are touched, and are zero.
class Mapping {
 public:
  explicit Mapping(size_t wanted) : bytes_(whole(wanted, kHugePage)) {
    const size_t reserved = bytes_ + kHugePage;  // with a boundary of huge pages somewhere in the first
    void* data = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    char* first = static_cast<char*>(data);
    data_ = first + (whole(reinterpret_cast<uintptr_t>(first), kHugePage) - reinterpret_cast<uintptr_t>(first));
    if (data_ > first) munmap(first, static_cast<size_t>(data_ - first));
    if (char* end = data_ + bytes_; end < first + reserved) munmap(end, static_cast<size_t>(first + reserved - end));
    madvise(data_, bytes_, MADV_HUGEPAGE);  // advice: no harm where it is refused
  }
  ~Mapping() { munmap(data_, bytes_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // The next `bytes` that nobody has been given.
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
  if (bytes >= kHugePage) return taken(std::make_shared<Mapping>(bytes), bytes);
  Buffer buffer(static_cast<float*>(std::aligned_alloc(kLineBytes, bytes)));
  if (!buffer) throw std::bad_alloc();
  std::memset(buffer.get(), 0, bytes);
  return buffer;
}

Buffer make_weight_buffer(int64_t floats) {
  constexpr size_t kShared = 8 * kHugePage;  // of which less than a huge page's size is left over
  static std::mutex mutex;
  static std::shared_ptr<Mapping> mapping;
  const size_t bytes = whole(static_cast<size_t>(floats) * sizeof(float), kLineBytes);
  if (bytes >= kHugePage) return make_buffer(floats);
  const std::lock_guard<std::mutex> lock(mutex);
  if (!mapping || mapping->left() < bytes) mapping = std::make_shared<Mapping>(kShared);
  return taken(mapping, bytes);
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
