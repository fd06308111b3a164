// The register tiles of AVX-512: for each number of vectors of columns, as many rows as fit 32 registers.
#pragma once

#include "microkernels/brgemm_f32.h"

namespace loopwright {
namespace {

template <class V>
void add_avx512_tiles(KernelTable& k) {
  add_tiles<V, 1, 28>(k);
  add_tiles<V, 2, 14>(k);
  add_tiles<V, 3, 9>(k);
  add_tiles<V, 4, 6>(k);
  add_tiles<V, 5, 5>(k);
  add_tiles<V, 6, 4>(k);
  add_tiles<V, 7, 3>(k);
  add_tiles<V, 8, 2>(k);
}

}  // namespace
}  // namespace loopwright
