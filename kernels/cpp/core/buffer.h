// Zeroed floats on huge pages where the system has them: packed weights are streamed, and 4 KiB pages cost a page-table
// walk every 4 KiB.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace loopwright {

// Frees what it was given, or lets go of the block that holds it.
struct BufferDeleter {
  std::shared_ptr<void> block = nullptr;
  void operator()(void* p) { block ? block.reset() : std::free(p); }
};

using Buffer = std::unique_ptr<float[], BufferDeleter>;

// Throws std::bad_alloc.
Buffer make_buffer(int64_t floats);

// The same for weights, which stay and are read in every run: those too small for huge pages of their own share some, in
// the order in which they are made. Throws std::bad_alloc.
Buffer make_weight_buffer(int64_t floats);

// Who uses a thread's scratch: an operator, or what runs operators one after the other and so needs its own meanwhile.
enum class ScratchOf { kOperator, kChain, kStrassen };

// At least `floats` floats of the calling thread, kept from call to call: what they hold is whatever the last user
// left. Throws std::bad_alloc.
float* scratch(int64_t floats, ScratchOf user = ScratchOf::kOperator);

}  // namespace loopwright
