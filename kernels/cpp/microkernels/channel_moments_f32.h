// Sums over the pixels of an image (contract: channel_moments.h), templated over the vector type V.
//
// Four pixels at a time share the load and the store of a vector of sums, which stay in L1. Channels are the inner loop,
// since a step from pixel to pixel would hit few sets of L1 if their number is a power of two.
#pragma once

#include "microkernels/kernel_table.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

// sums[c] += the sum over kPixels pixels of term(x, c).
template <class V, int kPixels, class Term>
inline __attribute__((always_inline)) void add_pixels(const float* x, int64_t channels, const Term& term, float* sums) {
  for_each_vector<V>(channels, [&](int64_t c, const auto& access) {
    typename V::Reg sum = term(access.load(x + c), c, access);
#pragma GCC unroll 4
    for (int p = 1; p < kPixels; ++p) sum = V::add(sum, term(access.load(x + p * channels + c), c, access));
    access.store(sums + c, V::add(access.load(sums + c), sum));
  });
}

template <class V, class Term>
inline __attribute__((always_inline)) void sum_pixels(const float* x, int64_t pixels, int64_t channels,
                                                      const Term& term, float* sums) {
  for_each_vector<V>(channels, [&](int64_t c, const auto& access) { access.store(sums + c, V::zero()); });
  int64_t p = 0;
  for (; p + 4 <= pixels; p += 4) add_pixels<V, 4>(x + p * channels, channels, term, sums);
  for (; p < pixels; ++p) add_pixels<V, 1>(x + p * channels, channels, term, sums);
}

template <class V>
void channel_sums(const float* x, int64_t pixels, int64_t channels, float* sums) {
  sum_pixels<V>(x, pixels, channels, [](auto v, int64_t, const auto&) { return v; }, sums);
}

template <class V>
void channel_squares(const float* x, int64_t pixels, int64_t channels, const float* means, float* sums) {
  const auto square = [means](auto v, int64_t c, const auto& access) {
    const auto difference = V::sub(v, access.load(means + c));
    return V::mul(difference, difference);
  };
  sum_pixels<V>(x, pixels, channels, square, sums);
}

template <class V>
void scale_channels(const float* x, int64_t pixels, int64_t channels, const float* scale, const float* shift,
                    float* out) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, out += channels)
    for_each_vector<V>(channels, [&](int64_t c, const auto& access) {
      access.store(out + c, V::fma(access.load(x + c), access.load(scale + c), access.load(shift + c)));
    });
}

template <class V>
void add_channel_functions(KernelTable& kernels) {
  kernels.channels = {&channel_sums<V>, &channel_squares<V>, &scale_channels<V>};
}

}  // namespace
}  // namespace loopwright
