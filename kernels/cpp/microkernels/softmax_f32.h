// Softmax of rows (contract: attention_weights.h), templated over the vector type V. Three passes over a row, which stays in
// L1: the largest value, e^(x - largest) and its sum, the product with 1 / sum. The second pass takes most of the time.
#pragma once

#include "loopwright/rowwise.h"
#include "microkernels/activations_f32.h"
#include "microkernels/attention_weights.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

// e^x for x <= 0, as 2^n 2^r with t = x log2(e), n = round(t), |r| <= 1/2. Rounding t costs up to |x| / 2 units in the last
// place, which is negligible for a weight of e^x, and r needs no correction. The polynomial is minimax with a relative error
// of 2e-9.
template <class V>
inline typename V::Reg exp_below_zero(typename V::Reg x) {
  static constexpr float kPolynomial[] = {1.0f,           0.693147182f,   0.240226462f,  0.0555032864f,
                                          0.00961848907f, 0.00133999309f, 0.00015345811f};
  const auto t = V::max(V::set1(-160.0f), V::mul(x, V::set1(1.44269504f)));  // 2^-160 is zero in float32
  const auto n = V::round(t);
  return V::scale(polynomial<V>(V::sub(t, n), kPolynomial), n);
}

template <class V>
void fill_row(float* out, int64_t n, typename V::Reg value) {
  for_each_vector<V>(n, [&](int64_t i, const auto& access) { access.store(out + i, value); });
}

template <class V, bool kMasked>
void softmax_row(const AttentionWeightsArgs& args, const float* x, const float* mask, float* out) {
  constexpr float kInfinity = __builtin_inff();
  using Reg = typename V::Reg;
  const int64_t n = args.n, whole = n / V::kLanes * V::kLanes;
  const auto last = V::mask(static_cast<int>(n - whole));
  const Reg scale = V::set1(args.scale), nothing = V::set1(-kInfinity);
  const auto sum_of = [&](Reg values, Reg added, Reg shift) {
    return kMasked ? V::add(V::fma(values, scale, added), shift) : V::fma(values, scale, shift);
  };
  // scale * x + mask + shift for the vector that starts at j, and for the last, partial one.
  const auto logits = [&](int64_t j, Reg shift) {
    return sum_of(V::load(x + j), kMasked ? V::load(mask + j) : shift, shift);
  };
  const auto last_logits = [&](Reg shift) {
    const Reg y = sum_of(V::load(x + whole, last), kMasked ? V::load(mask + whole, last) : shift, shift);
    return V::select(last, y, nothing);
  };

  Reg largest = nothing;
  for (int64_t j = 0; j < whole; j += V::kLanes) largest = V::max(largest, logits(j, V::zero()));
  if (whole < n) largest = V::max(largest, last_logits(V::zero()));
  const Reg shift = V::set1(-V::max_lane(largest));  // in a row of nothing but -inf, -inf + inf is NaN

  Reg sum = V::zero();
  for (int64_t j = 0; j < whole; j += V::kLanes) {
    const Reg e = exp_below_zero<V>(logits(j, shift));
    V::store(out + j, e);
    sum = V::add(sum, e);
  }
  if (whole < n) {
    const Reg e = exp_below_zero<V>(last_logits(shift));
    V::store(out + whole, e, last);
    sum = V::add(sum, e);
  }

  const float total = V::sum(sum);
  if (args.or_zero && total != total) return fill_row<V>(out, n, V::zero());
  const Reg inverse = V::set1(1.0f / total);
  for (int64_t j = 0; j < whole; j += V::kLanes) V::store(out + j, V::mul(V::load(out + j), inverse));
  if (whole < n) V::store(out + whole, V::mul(V::load(out + whole, last), inverse), last);
}

template <class V>
void attention_weights(const AttentionWeightsArgs& args) {
  for (int64_t i = 0; i < args.rows; ++i) {
    const float* x = args.x + i * args.x_stride;
    float* out = args.out + i * args.out_stride;
    if (args.mask) {
      softmax_row<V, true>(args, x, args.mask + i * args.mask_stride, out);
    } else {
      softmax_row<V, false>(args, x, nullptr, out);
    }
  }
}

template <class V>
void softmax_rows(const RowArgs& args) {
  attention_weights<V>({args.x, args.n, args.out, args.n, args.rows, args.n});
}

}  // namespace
}  // namespace loopwright
