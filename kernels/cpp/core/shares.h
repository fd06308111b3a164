// The shares of threads that divide the output of a layer.
#pragma once

#include <cstdint>

#include "loopwright/thread_pool.h"
#include "loopwright/thread_split.h"

namespace loopwright {

// A piece of the rectangle in row i and column j of a split.
struct Share {
  int64_t i, j, piece;
};

// Runs f(slot, share) for each of the `pieces` pieces of each rectangle, as chunks; see parallel_chunks().
template <class F>
void parallel_shares(const ThreadSplit& threads, int64_t pieces, const F& f) {
  parallel_chunks(threads.count(), threads.count() * pieces, [&](int slot, int64_t chunk) {
    const int64_t rectangle = chunk / pieces;
    f(slot, Share{rectangle / threads.n, rectangle % threads.n, chunk % pieces});
  });
}

}  // namespace loopwright
