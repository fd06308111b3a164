// Sums over a row, templated over the vector type V.
#pragma once

#include <cstdint>

#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

// sums[r] = the sum over i < n of the vectors term(r, i, access) that begin at i, for kRows rows. Four independent sums per row
// hide the latency of additions.
template <class V, int kRows, class Term>
inline __attribute__((always_inline)) void sums_of(int64_t n, const Term& term, float (&sums)[kRows]) {
  constexpr int kSums = 4;
  typename V::Reg parts[kRows][kSums];
  for (auto& of_row : parts)
    for (auto& part : of_row) part = V::zero();
  int64_t i = 0;
  for (; i + kSums * V::kLanes <= n; i += kSums * V::kLanes)
#pragma GCC unroll 4
    for (int s = 0; s < kSums; ++s)
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) parts[r][s] = V::add(parts[r][s], term(r, i + s * V::kLanes, WholeVector<V>{}));
  for (; i + V::kLanes <= n; i += V::kLanes)
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) parts[r][0] = V::add(parts[r][0], term(r, i, WholeVector<V>{}));
  if (i < n) {
    const PartialVector<V> rest{V::mask(static_cast<int>(n - i))};
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
      parts[r][1] = V::add(parts[r][1], V::select(rest.mask, term(r, i, rest), V::zero()));
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
    sums[r] = V::sum(V::add(V::add(parts[r][0], parts[r][1]), V::add(parts[r][2], parts[r][3])));
}

}  // namespace
}  // namespace loopwright
