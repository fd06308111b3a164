// The register tiles of AVX-512: for each number of vectors of columns, as many rows as fit 32 registers.
#pragma once

#include "microkernels/brgemm_f32.h"

namespace loopwright {
namespace {

// `halves`: whether half a vector takes half of the time, as on CPUs that execute 512-bit vectors in two passes. On others
// such tiles are slower than whole ones, because their FMAs load more (Zen 5: 16.2 cycles for 14×24, 14.2 for 14×32).
template <class V>
void add_avx512_tiles(KernelTable& k, bool halves) {
  add_tiles<V, 1, 28>(k, halves);
  add_tiles<V, 2, 14>(k, halves);
  add_tiles<V, 3, 9>(k, halves);
  add_tiles<V, 4, 6>(k);
  add_tiles<V, 5, 5>(k);
  add_tiles<V, 6, 4>(k);
  add_tiles<V, 7, 3>(k);
  add_tiles<V, 8, 2>(k);
}

}  // namespace
}  // namespace loopwright
