// Softmax of rows (contract: include/loopwright/softmax.h), templated over the vector type V. Three passes over a row,
// which stays in L1: the largest value; e^(x - largest) and its sum; times 1 / sum.
#pragma once

#include "activations_f32.h"
#include "loopwright/softmax.h"

namespace loopwright {
namespace {

template <class V, bool kMasked>
void softmax_row(const SoftmaxArgs& args, const float* x, const float* mask, float* out) {
  constexpr float kInfinity = __builtin_inff();
  using Reg = typename V::Reg;
  const int64_t n = args.n, whole = n / V::kLanes * V::kLanes;
  const auto last = V::mask(static_cast<int>(n - whole));
  const Reg scale = V::set1(args.scale), nothing = V::set1(-kInfinity);
  const auto logits = [&](int64_t j) {
    const Reg values = V::load(x + j);
    return kMasked ? V::fma(values, scale, V::load(mask + j)) : V::mul(values, scale);
  };
  const auto last_logits = [&] {
    const Reg values = V::load(x + whole, last);
    const Reg y = kMasked ? V::fma(values, scale, V::load(mask + whole, last)) : V::mul(values, scale);
    return V::select(last, y, nothing);
  };

  Reg largest = nothing;
  for (int64_t j = 0; j < whole; j += V::kLanes) largest = V::max(largest, logits(j));
  if (whole < n) largest = V::max(largest, last_logits());
  const float peak = V::max_lane(largest);
  const Reg shift = V::set1(peak > -kInfinity ? peak : 0.0f);

  Reg sum = V::zero();
  const auto share = [&](Reg logit) {
    const Reg e = exp<V>(V::sub(logit, shift));
    sum = V::add(sum, e);
    return e;
  };
  for (int64_t j = 0; j < whole; j += V::kLanes) V::store(out + j, share(logits(j)));
  if (whole < n) V::store(out + whole, share(last_logits()), last);

  const float total = V::sum(sum);
  const Reg inverse = V::set1(total == 0.0f ? 0.0f : 1.0f / total);
  for (int64_t j = 0; j < whole; j += V::kLanes) V::store(out + j, V::mul(V::load(out + j), inverse));
  if (whole < n) V::store(out + whole, V::mul(V::load(out + whole, last), inverse), last);
}

template <class V>
void softmax_rows(const SoftmaxArgs& args) {
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

}  // namespace
}  // namespace loopwright
