// RMS normalization (contract: include/loopwright/rowwise.h), templated over the vector type V.
//
// Two passes over rows, which stay in L1: the mean of squares, then the output. Three rows at a time, for the reasons in
// layer_norm_f32.h.
#pragma once

#include "loopwright/rowwise.h"
#include "microkernels/row_sum_f32.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

// Rows row..row + kRows - 1.
template <class V, int kRows>
void rms_norm_block(const RowArgs& args, int64_t row) {
  const int64_t n = args.n;
  const float* x = args.x + row * n;
  float* out = args.out + row * n;
  float squares[kRows];
  sums_of<V, kRows>(
      n,
      [&](int r, int64_t i, const auto& access) {
        const auto v = access.load(x + r * n + i);
        return V::mul(v, v);
      },
      squares);
  typename V::Reg inverses[kRows];
  for (int r = 0; r < kRows; ++r)
    inverses[r] = V::set1(1.0f / __builtin_sqrtf(squares[r] / static_cast<float>(n) + args.epsilon));
  for_each_vector<V>(n, [&](int64_t i, const auto& access) {
    const auto gamma = access.load(args.gamma + i);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
      access.store(out + r * n + i, V::mul(V::mul(access.load(x + r * n + i), inverses[r]), gamma));
  });
}

template <class V>
void rms_norm_rows(const RowArgs& args) {
  constexpr int kRows = 3;
  int64_t row = 0;
  for (; row + kRows <= args.rows; row += kRows) rms_norm_block<V, kRows>(args, row);
  for (; row < args.rows; ++row) rms_norm_block<V, 1>(args, row);
}

}  // namespace
}  // namespace loopwright
