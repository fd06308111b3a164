// Activations that are not a clamp, on rows of float32, templated over the vector type V. The polynomials are fitted on
// Chebyshev nodes in float64 (near-minimax). The error of each function is below 8 units in the last place of max(1, |x|).
// NaN passes through.
#pragma once

#include <cstddef>

#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

template <class V, size_t N>
inline typename V::Reg polynomial(typename V::Reg x, const float (&coefficients)[N]) {  // Horner, lowest degree first
  typename V::Reg y = V::set1(coefficients[N - 1]);
#pragma GCC unroll 16
  for (int i = static_cast<int>(N) - 2; i >= 0; --i) y = V::fma(y, x, V::set1(coefficients[i]));
  return y;
}

// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2. ln 2 is split in two parts to keep the bits of r.
template <class V>
inline typename V::Reg exp(typename V::Reg x) {
  static constexpr float kPolynomial[] = {1.0f,       1.00000004f,    0.500000011f, 0.166664053f,
                                          0.0416662f, 0.00837597082f, 0.0013949783f};
  x = V::min(V::set1(100.0f), V::max(V::set1(-110.0f), x));  // e^100 is infinite in float32, e^-110 zero
  const auto n = V::round(V::mul(x, V::set1(1.44269504f)));
  auto r = V::fma(n, V::set1(-0.693359375f), x);
  r = V::fma(n, V::set1(2.12194440e-4f), r);
  return V::scale(polynomial<V>(r, kPolynomial), n);
}

struct Sigmoid {
  template <class V>
  static typename V::Reg apply(typename V::Reg x) {
    const auto one = V::set1(1.0f);
    return V::div(one, V::add(one, exp<V>(V::sub(V::zero(), x))));
  }
};

struct Silu {
  template <class V>
  static typename V::Reg apply(typename V::Reg x) {
    return V::mul(x, Sigmoid::apply<V>(x));
  }
};

// |x| < 0.625: x + x^3 P(x^2); else sign(x) (1 - e) / (1 + e), e = e^(-2|x|).
struct Tanh {
  template <class V>
  static typename V::Reg apply(typename V::Reg x) {
    static constexpr float kPolynomial[] = {-0.333333286f, 0.133327328f, -0.0538449871f, 0.0209681809f,
                                            -0.00605369059f};
    const auto one = V::set1(1.0f), magnitude = V::abs(x), square = V::mul(x, x);
    const auto e = exp<V>(V::mul(V::set1(-2.0f), magnitude));
    const auto large = V::copysign(V::div(V::sub(one, e), V::add(one, e)), x);
    const auto small = V::fma(V::mul(x, square), polynomial<V>(square, kPolynomial), x);
    return V::select_lt(magnitude, V::set1(0.625f), small, large);
  }
};

// x/2 (1 + erf(t)), t = x / sqrt 2, erf(t) = t P(t^2) / Q(t^2) for |t| <= 4; beyond, |erf(t)| is 1 in float32. The rational
// approximation is from Eigen (MathFunctionsImpl.h).
struct Gelu {
  template <class V>
  static typename V::Reg apply(typename V::Reg x) {
    static constexpr float kNumerator[] = {-1.60960333262415e-02f, -2.95459980854025e-03f, -7.34990630326855e-04f,
                                           -5.69250639462346e-05f, -2.10102402082508e-06f, 2.77068142495902e-08f,
                                           -2.72614225801306e-10f};
    static constexpr float kDenominator[] = {-1.42647390514189e-02f, -7.37332916720468e-03f, -1.68282697438203e-03f,
                                             -2.13374055278905e-04f, -1.45660718464996e-05f};
    const auto limit = V::set1(4.0f), half = V::mul(V::set1(0.5f), x);
    const auto t = V::min(limit, V::max(V::sub(V::zero(), limit), V::mul(x, V::set1(0.707106781f))));
    const auto square = V::mul(t, t);
    const auto erf = V::div(V::mul(t, polynomial<V>(square, kNumerator)), polynomial<V>(square, kDenominator));
    // From there on, erf is -1 in float32, and the halves cancel exactly. -inf gives NaN, as by the definition.
    return V::fma(half, V::select_lt(x, V::set1(-5.65685425f), V::set1(-1.0f), erf), half);
  }
};

// x (clamp(x + 3, 0, 6) / 6), in this order because 6 x could overflow
struct HardSwish {
  template <class V>
  static typename V::Reg apply(typename V::Reg x) {
    const auto gate = V::min(V::set1(6.0f), V::max(V::zero(), V::add(x, V::set1(3.0f))));
    return V::mul(x, V::mul(gate, V::set1(1.0f / 6.0f)));
  }
};

// x below zero times the slope of its column
struct Prelu {
  template <class V>
  static typename V::Reg apply(typename V::Reg x, typename V::Reg slope) {
    return V::select_lt(x, V::zero(), V::mul(x, slope), x);
  }
};

// Functions without a parameter ignore the slopes.
template <class V, class F>
void apply_rows(float* c, int64_t c_stride, int rows, int n, const float* /*slopes*/) {
  const auto rest = V::mask(n % V::kLanes);
  for (int i = 0; i < rows; ++i, c += c_stride) {
    int j = 0;
    for (; j + V::kLanes <= n; j += V::kLanes) V::store(c + j, F::template apply<V>(V::load(c + j)));
    if (j < n) V::store(c + j, F::template apply<V>(V::load(c + j, rest)), rest);
  }
}

template <class V>
void prelu_rows(float* c, int64_t c_stride, int rows, int n, const float* slopes) {
  const auto rest = V::mask(n % V::kLanes);
  for (int i = 0; i < rows; ++i, c += c_stride) {
    int j = 0;
    for (; j + V::kLanes <= n; j += V::kLanes) V::store(c + j, Prelu::apply<V>(V::load(c + j), V::load(slopes + j)));
    if (j < n) V::store(c + j, Prelu::apply<V>(V::load(c + j, rest), V::load(slopes + j, rest)), rest);
  }
}

template <class V>
void add_activations(KernelTable& kernels) {
  const auto set = [&](Activation a, ActivationFunction f) { kernels.activations[static_cast<int>(a)] = f; };
  set(Activation::kGelu, &apply_rows<V, Gelu>);
  set(Activation::kSigmoid, &apply_rows<V, Sigmoid>);
  set(Activation::kTanh, &apply_rows<V, Tanh>);
  set(Activation::kSilu, &apply_rows<V, Silu>);
  set(Activation::kHardSwish, &apply_rows<V, HardSwish>);
  set(Activation::kPrelu, &prelu_rows<V>);
}

}  // namespace
}  // namespace loopwright
