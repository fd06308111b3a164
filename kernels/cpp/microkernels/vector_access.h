// Loads and stores of an entire vector or of its first lanes.
#pragma once

#include <cstdint>

namespace loopwright {
namespace {

// T is float, or bfloat16 if V converts it.
template <class V>
struct WholeVector {
  template <class T>
  typename V::Reg load(const T* p) const {
    return V::load(p);
  }
  template <class T>
  void store(T* p, typename V::Reg x) const {
    V::store(p, x);
  }
};

template <class V>
struct PartialVector {
  typename V::Mask mask;
  template <class T>
  typename V::Reg load(const T* p) const {
    return V::load(p, mask);
  }
  template <class T>
  void store(T* p, typename V::Reg x) const {
    V::store(p, x, mask);
  }
};

// Loads the first lanes, and stores a vector with zeros behind them.
template <class V>
struct PaddedVector {
  typename V::Mask mask;
  typename V::Reg load(const float* p) const { return V::load(p, mask); }
  void store(float* p, typename V::Reg x) const { V::store(p, x); }
};

// Calls f(i, access) for each vector of `n` floats, where the vector starts at i. kUnroll is the number of vectors per
// iteration of the loop: a loop of few instructions is limited by one iteration per cycle.
template <class V, int kUnroll = 1, class F>
inline __attribute__((always_inline)) void for_each_vector(int64_t n, const F& f) {
  constexpr int64_t kStep = kUnroll * V::kLanes;
  const int64_t whole = n / kStep * kStep;
  int64_t i = 0;
  for (; i < whole; i += kStep)
#pragma GCC unroll 4
    for (int v = 0; v < kUnroll; ++v) f(i + v * V::kLanes, WholeVector<V>{});
  if constexpr (kUnroll > 1)
    for (; i + V::kLanes <= n; i += V::kLanes) f(i, WholeVector<V>{});
  if (i < n) f(i, PartialVector<V>{V::mask(static_cast<int>(n - i))});
}

}  // namespace
}  // namespace loopwright
