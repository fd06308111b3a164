// Zeroed floats, on huge pages if the system has them (see loopwright/huge_pages.h).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "core/split.h"

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
//
// A page is placed on the NUMA node of the thread that first writes it: for large weights one of the threads that pack them,
// which are those of the layer (pack_panels). On one node, the default (topology.h), all weights are local. On several, each
// node gets a share in proportion to its threads. Where panels are split over threads when the layer runs, the shares are
// nearly the same; where rows are split, every thread reads all weights, and shares on all nodes have more bandwidth than one
// memory. So there is no other policy, such as interleaving.
Buffer make_weight_buffer(int64_t floats);

// Returns a weight buffer of `floats` floats that starts with the `count` floats of `from`; null if `from` is null.
Buffer padded_copy(const float* from, int64_t count, int64_t floats);

// The user of the scratch of a thread: an operator, or an algorithm that runs operators and needs separate scratch.
enum class ScratchOf { kOperator, kChain, kStrassen };

// Returns at least `floats` floats that belong to the calling thread and are reused by later calls. Their content is
// unspecified. Throws std::bad_alloc.
float* scratch(int64_t floats, ScratchOf user = ScratchOf::kOperator);

// Returns how many floats of scratch hold `count` addresses of the arguments of a kernel.
constexpr int64_t floats_of_addresses(int64_t count) {
  constexpr size_t kAddressBytes = sizeof(void*);
  return count * static_cast<int64_t>(kAddressBytes / sizeof(float));
}

// Scratch for each slot of a parallel region. Slots share no cache line: with each store
// to it, threads would take it from each other. Created before the region, because the threads of the pool must not throw.
class SlotScratch {
 public:
  // Throws std::bad_alloc.
  SlotScratch(int64_t floats, int slots) : floats_(whole_lines(floats)), all_(scratch(floats_ * slots)) {}
  // Returns the floats of a slot, at the start of a cache line.
  float* of(int slot) const { return all_ + slot * floats_; }

 private:
  int64_t floats_;
  float* all_;
};

}  // namespace loopwright
