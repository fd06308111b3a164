// Sums over a row, templated over the vector type V.
#pragma once

#include <cstdint>

#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

// Returns the sum over i < n of the vectors term(i, access) that begin at i. Four independent sums hide the latency of
// additions.
template <class V, class Term>
inline float sum_of(int64_t n, const Term& term) {
  constexpr int kSums = 4;
  typename V::Reg sums[kSums];
  for (auto& sum : sums) sum = V::zero();
  int64_t i = 0;
  for (; i + kSums * V::kLanes <= n; i += kSums * V::kLanes)
#pragma GCC unroll 4
    for (int s = 0; s < kSums; ++s) sums[s] = V::add(sums[s], term(i + s * V::kLanes, WholeVector<V>{}));
  for (; i + V::kLanes <= n; i += V::kLanes) sums[0] = V::add(sums[0], term(i, WholeVector<V>{}));
  if (i < n) {
    const PartialVector<V> rest{V::mask(static_cast<int>(n - i))};
    sums[1] = V::add(sums[1], V::select(rest.mask, term(i, rest), V::zero()));
  }
  return V::sum(V::add(V::add(sums[0], sums[1]), V::add(sums[2], sums[3])));
}

}  // namespace
}  // namespace loopwright
