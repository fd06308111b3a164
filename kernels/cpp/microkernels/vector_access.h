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

// Stores NV vectors by a writer that stores one or two at once. The mask is that of the last one.
template <class V, class Writer, class Element, int NV>
inline __attribute__((always_inline)) void store_in_pairs(const Writer& writer, Element* row,
                                                          const typename V::Reg (&x)[NV], typename V::Mask last) {
  constexpr int kPairs = (NV - 1) / 2;  // all but the last one or two vectors
#pragma GCC unroll 4
  for (int j = 0; j < kPairs; ++j) writer.store(row + 2 * j * V::kLanes, x[2 * j], x[2 * j + 1]);
  if constexpr (NV % 2 == 0) {
    writer.store(row + (NV - 2) * V::kLanes, x[NV - 2], x[NV - 1], last);
  } else {
    writer.store(row + (NV - 1) * V::kLanes, x[NV - 1], last);
  }
}

}  // namespace
}  // namespace loopwright
