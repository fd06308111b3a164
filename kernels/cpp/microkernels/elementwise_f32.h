// Clamped sums (contract: include/loopwright/elementwise.h), templated over the vector type V: one pass, bound by
// memory.
#pragma once

#include "loopwright/elementwise.h"
#include "vector_access.h"

namespace loopwright {
namespace {

template <class V, bool kTwo>
void clamped_sum_of(const ClampedSumArgs& args) {
  const auto lo = V::set1(args.lo), hi = V::set1(args.hi);
  for_each_vector<V>(args.n, [&](int64_t i, const auto& access) {
    auto x = access.load(args.a + i);
    if constexpr (kTwo) x = V::add(x, access.load(args.b + i));
    access.store(args.out + i, V::min(hi, V::max(lo, x)));
  });
}

template <class V>
void clamped_sum(const ClampedSumArgs& args) {
  args.b ? clamped_sum_of<V, true>(args) : clamped_sum_of<V, false>(args);
}

}  // namespace
}  // namespace loopwright
