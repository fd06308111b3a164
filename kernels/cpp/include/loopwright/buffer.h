// Zeroed floats on huge pages where the system has them: packed weights are streamed, and 4 KiB pages cost a page-table
// walk every 4 KiB.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace loopwright {

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};

using Buffer = std::unique_ptr<float[], FreeDeleter>;

// Throws std::bad_alloc.
Buffer make_buffer(int64_t floats);

// Who uses a thread's scratch: an operator, or what runs operators one after the other and so needs its own meanwhile.
enum class ScratchOf { kOperator, kChain, kStrassen };

// At least `floats` floats of the calling thread, kept from call to call: what they hold is whatever the last user
// left. Throws std::bad_alloc.
float* scratch(int64_t floats, ScratchOf user = ScratchOf::kOperator);

// Leaves `bytes` bytes in the caches as a layer does that has written them: each of `threads` threads has the even part of
// them that is its own. They stay what they are.
void distribute(void* data, int64_t bytes, int threads);

// Puts `bytes` bytes out of every cache, `threads` threads at it together.
void evict(const void* data, int64_t bytes, int threads);

}  // namespace loopwright
