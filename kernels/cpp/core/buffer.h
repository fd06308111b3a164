// Zeroed floats, on huge pages if the system has them (see loopwright/huge_pages.h).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace loopwright {

// Frees memory, or releases the block that contains it.
struct BufferDeleter {
  std::shared_ptr<void> block = nullptr;
  void operator()(void* p) { block ? block.reset() : std::free(p); }
};

using Buffer = std::unique_ptr<float[], BufferDeleter>;

// Throws std::bad_alloc.
Buffer make_buffer(int64_t floats);

// The same for weights, which are read in every run. Buffers smaller than a huge page share huge pages, in the order in which
// they are created. Throws std::bad_alloc.
Buffer make_weight_buffer(int64_t floats);

// The user of the scratch of a thread: an operator, or an algorithm that runs operators and needs separate scratch.
enum class ScratchOf { kOperator, kChain, kStrassen };

// Returns at least `floats` floats that belong to the calling thread and are reused by later calls. Their content is
// unspecified. Throws std::bad_alloc.
float* scratch(int64_t floats, ScratchOf user = ScratchOf::kOperator);

}  // namespace loopwright
