// Layer normalization (contract: include/loopwright/rowwise.h), templated over the vector type V.
//
// Three passes over a row, which stays in L1: the mean, the mean of squared differences from it, the result. E[v²] - E[v]²
// would save the second pass, but cancels if the mean is large relative to the spread. With a residual, the first pass
// stores x + residual in `out` for the other passes.
#pragma once

#include "loopwright/rowwise.h"
#include "microkernels/row_sum_f32.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

template <class V>
void layer_norm_row(const RowArgs& args, const float* x, const float* residual, float* out) {
  const auto count = static_cast<float>(args.n);
  const float total = sum_of<V>(args.n, [&](int64_t i, const auto& access) {
    auto v = access.load(x + i);
    if (residual) {
      v = V::add(v, access.load(residual + i));
      access.store(out + i, v);
    }
    return v;
  });
  const float* v = residual ? out : x;
  const auto mean = V::set1(total / count);
  const float squares = sum_of<V>(args.n, [&](int64_t i, const auto& access) {
    const auto difference = V::sub(access.load(v + i), mean);
    return V::mul(difference, difference);
  });
  const auto inverse = V::set1(1.0f / __builtin_sqrtf(squares / count + args.epsilon));
  for_each_vector<V>(args.n, [&](int64_t i, const auto& access) {
    const auto normal = V::mul(V::sub(access.load(v + i), mean), inverse);
    access.store(out + i, V::fma(normal, access.load(args.gamma + i), access.load(args.beta + i)));
  });
}

template <class V>
void layer_norm_rows(const RowArgs& args) {
  for (int64_t i = 0; i < args.rows; ++i)
    layer_norm_row<V>(args, args.x + i * args.n, args.residual ? args.residual + i * args.n : nullptr,
                      args.out + i * args.n);
}

}  // namespace
}  // namespace loopwright
