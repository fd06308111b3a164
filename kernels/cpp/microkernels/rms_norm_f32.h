// RMS normalization (contract: include/loopwright/rowwise.h), templated over the vector type V.
//
// Two passes over a row, which stays in L1: the mean of squares, then the output.
#pragma once

#include "loopwright/rowwise.h"
#include "microkernels/row_sum_f32.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

template <class V>
void rms_norm_rows(const RowArgs& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* x = args.x + row * args.n;
    float* out = args.out + row * args.n;
    const float squares = sum_of<V>(args.n, [&](int64_t i, const auto& access) {
      const auto v = access.load(x + i);
      return V::mul(v, v);
    });
    const auto inverse = V::set1(1.0f / __builtin_sqrtf(squares / static_cast<float>(args.n) + args.epsilon));
    for_each_vector<V>(args.n, [&](int64_t i, const auto& access) {
      access.store(out + i, V::mul(V::mul(access.load(x + i), inverse), access.load(args.gamma + i)));
    });
  }
}

}  // namespace
}  // namespace loopwright
