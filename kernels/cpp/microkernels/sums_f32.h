// Sums (contract: sums.h), templated over the vector type V. One pass, bound by memory.
#pragma once

#include "microkernels/sums.h"
#include "microkernels/vector_access.h"

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

template <class V>
void strassen_sums(const StrassenSumsArgs& given) {
  const StrassenSumsArgs args = given;  // the compiler cannot prove that no s overlaps it
  for_each_vector<V>(args.n, [&](int64_t i, const auto& access) {
    const auto a11 = access.load(args.a11 + i), a12 = access.load(args.a12 + i), a21 = access.load(args.a21 + i),
               a22 = access.load(args.a22 + i);
    const auto s1 = V::add(a21, a22), s2 = V::sub(s1, a11);
    access.store(args.s1 + i, s1);
    access.store(args.s2 + i, s2);
    access.store(args.s3 + i, V::sub(a11, a21));
    access.store(args.s4 + i, V::sub(a12, s2));
  });
}

}  // namespace
}  // namespace loopwright
