// Winograd's transforms (contract: winograd.h) for float32, templated over the vector type V.
//
// With points 0, ±p, ... and ∞, row i of Bᵀ has the coefficients of the product of (x - q) over all other points q, and
// column i of Aᵀ the powers of the point. A pair ±p shares its even and its odd part. A one-dimensional transform of six
// values takes 12 FMAs for the input and 13 operations for the output. A tile takes 12 of the former or 10 of the latter
// and 36 loads or stores: 72 cycles per vector of channels with two FMA ports, compared with 36 * n / 2 for the products
// with n vectors of outputs.
#pragma once

#include <type_traits>

#include "microkernels/activations_f32.h"
#include "microkernels/kernel_table.h"
#include "microkernels/vector_access.h"
#include "microkernels/winograd.h"

namespace loopwright {
namespace {

template <class V>
struct WinogradInput4 {
  static constexpr int kSize = 4;
  using Reg = typename V::Reg;

  static inline __attribute__((always_inline)) void apply(const Reg (&d)[kSize], Reg (&v)[kSize]) {
    v[0] = V::sub(d[2], d[0]);
    v[1] = V::add(d[2], d[1]);
    v[2] = V::sub(d[2], d[1]);
    v[3] = V::sub(d[3], d[1]);
  }
};

template <class V>
struct WinogradOutput2 {  // of F(2, 3)
  static constexpr int kSize = 4, kOut = 2;
  using Reg = typename V::Reg;

  static inline __attribute__((always_inline)) void apply(const Reg (&m)[kSize], Reg (&y)[kOut]) {
    y[0] = V::add(m[0], V::add(m[1], m[2]));
    y[1] = V::add(m[3], V::sub(m[1], m[2]));
  }
};

constexpr float kA = static_cast<float>(kWinogradPoints6[1]), kB = static_cast<float>(kWinogradPoints6[3]);
constexpr float kA2 = kA * kA, kB2 = kB * kB;

template <class V>
struct WinogradInput6 {
  static constexpr int kSize = 6;
  using Reg = typename V::Reg;

  static inline __attribute__((always_inline)) void apply(const Reg (&d)[kSize], Reg (&v)[kSize]) {
    const Reg a = V::set1(kA), b = V::set1(kB), a2 = V::set1(-kA2), b2 = V::set1(-kB2);
    const Reg sum = V::set1(-kA2 - kB2), product = V::set1(kA2 * kB2);
    const Reg even_a = V::fma(b2, d[2], d[4]), odd_a = V::fma(b2, d[1], d[3]);
    const Reg even_b = V::fma(a2, d[2], d[4]), odd_b = V::fma(a2, d[1], d[3]);
    v[0] = V::fma(product, d[0], V::fma(sum, d[2], d[4]));
    v[1] = V::fma(a, odd_a, even_a);
    v[2] = V::fnma(a, odd_a, even_a);
    v[3] = V::fma(b, odd_b, even_b);
    v[4] = V::fnma(b, odd_b, even_b);
    v[5] = V::fma(product, d[1], V::fma(sum, d[3], d[5]));
  }
};

template <class V, int M>
struct WinogradOutput6 {  // of F(3, 4) and F(4, 3): the same points; infinity adds to the highest power
  static constexpr int kSize = 6, kOut = M;
  using Reg = typename V::Reg;

  static inline __attribute__((always_inline)) void apply(const Reg (&m)[kSize], Reg (&y)[kOut]) {
    const Reg sum_a = V::add(m[1], m[2]), difference_a = V::sub(m[1], m[2]);
    const Reg sum_b = V::add(m[3], m[4]), difference_b = V::sub(m[3], m[4]);
    y[0] = V::add(m[0], V::add(sum_a, sum_b));
    y[1] = V::fma(V::set1(kA), difference_a, V::mul(V::set1(kB), difference_b));
    y[2] = V::fma(V::set1(kA2), sum_a, V::mul(V::set1(kB2), sum_b));
    if constexpr (M == 3) {
      y[2] = V::add(y[2], m[5]);
    } else {
      y[3] = V::fma(V::set1(kA2 * kA), difference_a, V::fma(V::set1(kB2 * kB), difference_b, m[5]));
    }
  }
};

template <class V, class F, class Access>
inline __attribute__((always_inline)) void winograd_input_vector(const WinogradInput& args, int64_t c,
                                                                 const Access& access) {
  using Reg = typename V::Reg;
  Reg columns[F::kSize][F::kSize];  // [column][row] of Bᵀ d
#pragma GCC unroll 6
  for (int j = 0; j < F::kSize; ++j) {
    Reg d[F::kSize];
    const float* from = args.d + j * args.pixel_stride + c;
#pragma GCC unroll 6
    for (int i = 0; i < F::kSize; ++i) {
      d[i] = access.load(from + i * args.row_stride);
      __builtin_prefetch(args.next + j * args.next_pixel_stride + c + i * args.next_row_stride, 0, 3);
    }
    F::apply(d, columns[j]);
  }
  float* to = args.v + c;
#pragma GCC unroll 6
  for (int i = 0; i < F::kSize; ++i) {
    Reg row[F::kSize], v[F::kSize];
#pragma GCC unroll 6
    for (int j = 0; j < F::kSize; ++j) row[j] = columns[j][i];
    F::apply(row, v);
#pragma GCC unroll 6
    for (int j = 0; j < F::kSize; ++j, to += args.place_stride) access.store(to, v[j]);
  }
}

template <class V, class F>
void winograd_input(const WinogradInput& args) {
  int64_t c = 0;
  for (; c + V::kLanes <= args.c; c += V::kLanes) winograd_input_vector<V, F>(args, c, WholeVector<V>{});
  if (c == args.c) return;
  using Rest = std::conditional_t<V::kLanes <= kWinogradPadding, PaddedVector<V>, PartialVector<V>>;
  winograd_input_vector<V, F>(args, c, Rest{V::mask(static_cast<int>(args.c - c))});
}

template <class V, class F, class Access>
inline __attribute__((always_inline)) void winograd_output_vector(const WinogradOutput& args, int n,
                                                                  const Access& access) {
  using Reg = typename V::Reg;
  Reg columns[F::kSize][F::kOut];  // [column][row] of Aᵀ M
#pragma GCC unroll 6
  for (int j = 0; j < F::kSize; ++j) {
    Reg m[F::kSize];
    const float* from = args.m + j * args.place_stride + n;
#pragma GCC unroll 6
    for (int i = 0; i < F::kSize; ++i) m[i] = V::load(from + i * F::kSize * args.place_stride);
    F::apply(m, columns[j]);
  }
  const Reg bias = args.bias ? V::load(args.bias + n) : V::zero();
  const Reg lo = V::set1(args.lo), hi = V::set1(args.hi);
  const Reg slope = args.slopes ? V::load(args.slopes + n) : V::zero();
#pragma GCC unroll 4
  for (int i = 0; i < F::kOut; ++i) {
    if (i >= args.rows) return;
    Reg row[F::kSize], y[F::kOut];
#pragma GCC unroll 6
    for (int j = 0; j < F::kSize; ++j) row[j] = columns[j][i];
    F::apply(row, y);
#pragma GCC unroll 4
    for (int j = 0; j < F::kOut; ++j) {
      if (j >= args.columns) break;
      const int64_t at = i * args.row_stride + j * args.pixel_stride + n;
      __builtin_prefetch(args.next + at, 1, 3);
      Reg x = V::add(y[j], bias);
      if (args.residual) x = V::add(x, access.load(args.residual + at));
      x = V::min(hi, V::max(lo, x));  // in this order NaN passes through
      access.store(args.y + at, args.slopes ? Prelu::apply<V>(x, slope) : x);
    }
  }
}

template <class V, class F>
void winograd_output(const WinogradOutput& args) {
  int n = 0;
  for (; n + V::kLanes <= args.n; n += V::kLanes) winograd_output_vector<V, F>(args, n, WholeVector<V>{});
  if (n < args.n) winograd_output_vector<V, F>(args, n, PartialVector<V>{V::mask(args.n - n)});
}

template <class V>
void add_winograd(KernelTable& kernels) {
  kernels.winograd2 = {&winograd_input<V, WinogradInput4<V>>, &winograd_output<V, WinogradOutput2<V>>};
  kernels.winograd3 = {&winograd_input<V, WinogradInput6<V>>, &winograd_output<V, WinogradOutput6<V, 3>>};
  kernels.winograd4 = {&winograd_input<V, WinogradInput6<V>>, &winograd_output<V, WinogradOutput6<V, 4>>};
}

}  // namespace
}  // namespace loopwright
