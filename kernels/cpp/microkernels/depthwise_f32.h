// Depthwise convolution (contract: depthwise.h), templated over the vector type V, the types X and Y of the image and the output,
// the width KW of the kernel, its stride S along the row, and C pixels of the output. V converts bfloat16 on load and store.
//
// Registers: C accumulators, KW weights of one kernel row, one pixel: C + KW + 1 <= V::kRegisters.
// Ports: a vector of channels of C pixels takes C·KW FMAs per kernel row and (C - 1)·S + 2·KW loads, because each pixel is
//   loaded once and added to all sums that it is part of. So FMAs are the limit: with two FMA ports, 4.5 cycles per output
//   vector for 3x3 and 12.5 for 5x5.
// Bytes: a strip moves down the image. All but the newest S rows under its windows are still in L1. So each pixel is loaded
//   once from L2 or beyond, and a share of (KW - S) / C once more for the next strip, per output stored.
#pragma once

#include <type_traits>

#include "microkernels/kernel_table.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

// The bounds, loaded into registers once. The compiler cannot prove that an output does not overlap them.
template <class V>
struct Clamp {
  typename V::Reg lo, hi;
  explicit Clamp(const DepthwiseLayer& layer) : lo(V::set1(layer.lo)), hi(V::set1(layer.hi)) {}
  typename V::Reg operator()(typename V::Reg x) const { return V::min(hi, V::max(lo, x)); }  // in this order NaN passes
};

// The vectors of float32 of V, whose accumulate() is an FMA.
template <class V>
struct Itself {
  using Floats = V;
};
template <class V>
using FloatsOf = typename std::conditional_t<V::kProducts == 1, Itself<V>, V>::Floats;

// Adds the residual of a vector of channels.
template <class V, class Access>
inline __attribute__((always_inline)) typename V::Reg with_residual(typename V::Reg sum, const void* residual,
                                                                    bool is_float, int64_t at, const Access& access) {
  if constexpr (!std::is_void_v<typename V::Narrow>)
    if (!is_float) return V::add(sum, access.load(static_cast<const typename V::Narrow*>(residual) + at));
  return V::add(sum, access.load(static_cast<const float*>(residual) + at));
}

// Stores C finished vectors of `n` channels from `channel` on, `step` elements apart. A function other than a clamp changes
// float32 in memory, so bfloat16 is stored after it.
template <class V, int C, class Y, class Access>
inline __attribute__((always_inline)) void store_pixels(const DepthwiseLayer& layer, const Clamp<V>& clamp,
                                                        const typename V::Reg (&acc)[C], Y* y, int64_t step,
                                                        int64_t channel, int64_t n, const Access& access) {
  if constexpr (!std::is_same_v<Y, float>)
    if (layer.activate) {
      alignas(64) float tile[C * V::kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < C; ++i) V::store(tile + i * V::kLanes, clamp(acc[i]));
      const float* slopes = layer.slopes ? layer.slopes + channel : nullptr;
      layer.activate(tile, V::kLanes, C, static_cast<int>(n < V::kLanes ? n : V::kLanes), slopes);
      for (int i = 0; i < C; ++i) access.store(y + i * step, V::load(tile + i * V::kLanes));
      return;
    }
#pragma GCC unroll 16
  for (int i = 0; i < C; ++i, y += step) access.store(y, clamp(acc[i]));
}

template <class V, class X, class Y, int KW, int S, int C>
struct DepthwiseTile {
  static constexpr int kPixels = (C - 1) * S + KW;  // of the image, under one kernel row
  static_assert(C + KW + 1 <= V::kRegisters, "the tile does not fit the register file");
  static_assert(kPixels <= 32, "a bit a pixel");

  using Reg = typename V::Reg;
  alignas(64) static constexpr X kZeros[V::kLanes] = {};

  static void run(const DepthwiseStrip& s, const DepthwiseLayer& layer) {
    constexpr uint32_t kAll = ~uint32_t{0} >> (32 - kPixels);
    constexpr int kHalf = KW / 2;  // the usual padding
    constexpr uint32_t kMiddle = kAll >> 2 * kHalf << kHalf;
    if ((s.inside & kAll) == kAll) {
      rows<0>(s, layer);
    } else if ((s.inside & kMiddle) == kMiddle) {
      rows<kHalf>(s, layer);
    } else {
      rows<kPixels>(s, layer);
    }
  }

 private:
  // kMargin: number of pixels on the left and on the right that may be outside the image.
  template <int kMargin>
  static void rows(const DepthwiseStrip& given_strip, const DepthwiseLayer& given_layer) {
    // Copies, because the compiler cannot prove that an output does not overlap the arguments.
    const DepthwiseStrip s = given_strip;
    const DepthwiseLayer layer = given_layer;
    const Clamp<V> clamp(layer);
    for (int64_t r = 0; r < s.rows; ++r) {
      const X* x = static_cast<const X*>(s.x) + r * s.x_row;
      Y* y = static_cast<Y*>(s.y) + r * s.y_row;
      for_each_vector<V>(s.channels, [&](int64_t channel, const auto& access) __attribute__((always_inline)) {
        Reg acc[C];
        start(acc, s, layer.bias ? layer.bias + channel : nullptr, r * s.y_row + channel, access);
        sum<kMargin>(acc, s, layer, x + channel, layer.weight + channel, access);
        store_pixels(layer, clamp, acc, y + channel, s.y_pixel, channel, s.channels - channel, access);
      });
      if constexpr (std::is_same_v<Y, float>)
        if (layer.activate) layer.activate(y, s.y_pixel, C, static_cast<int>(s.channels), layer.slopes);
    }
  }

  template <class Access>
  static inline __attribute__((always_inline)) void start(Reg (&acc)[C], const DepthwiseStrip& s, const float* bias,
                                                          int64_t at, const Access& access) {
    const Reg first = bias ? V::load(bias) : V::zero();
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) acc[i] = first;
    if (!s.residual) return;
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i)
      acc[i] = with_residual<V>(acc[i], s.residual, s.residual_is_float, at + i * s.y_pixel, access);
  }

  // One vector of channels. Pixels outside the image are loaded from zeros: selecting an address costs less than a branch per
  // pixel, but as much as the FMAs of the pixel.
  template <int kMargin, class Access>
  static inline __attribute__((always_inline)) void sum(Reg (&acc)[C], const DepthwiseStrip& s,
                                                        const DepthwiseLayer& layer, const X* from, const float* weight,
                                                        const Access& access) {
    // Every fifth pixel has a base register, as rows have in brgemm_f32.h.
    constexpr int kBases = (kPixels + 4) / 5;
    const int64_t stride = s.x_pixel * static_cast<int64_t>(sizeof(X)), stride3 = 3 * stride;  // bytes
    const char* base[kBases];
#pragma GCC unroll 8
    for (int i = 0; i < kBases; ++i) base[i] = reinterpret_cast<const char*>(from) + 5 * i * stride;
    const int64_t row_step = s.kernel_row_step * static_cast<int64_t>(sizeof(X));
    for (int64_t t = s.kernel_rows; t > 0; --t, weight += layer.weight_row) {
      uint32_t inside = s.inside;
      asm volatile("" : "+r"(inside));  // otherwise GCC extracts the bits before the loop, more than it has registers
      Reg tap[KW];
#pragma GCC unroll 8
      for (int k = 0; k < KW; ++k) tap[k] = V::load(weight + k * layer.weight_column);
      const auto pixel = [&](int j) __attribute__((always_inline)) {
        const auto* at = reinterpret_cast<const X*>(base[j / 5] + (j % 5 == 3 ? stride3 : j % 5 * stride));
        const bool surely_inside = j >= kMargin && j < kPixels - kMargin;
        return access.load(surely_inside || (inside & uint32_t{1} << j) ? at : kZeros);
      };
      if constexpr (S == 1) {
#pragma GCC unroll 32
        for (int j = 0; j < kPixels; ++j) {
          const Reg x = pixel(j);
#pragma GCC unroll 16
          for (int i = 0; i < C; ++i)
            if (j - i >= 0 && j - i < KW) FloatsOf<V>::accumulate(acc[i], x, tap[j - i]);
        }
      } else {  // few sums share a pixel, so this order keeps consecutive FMAs independent
#pragma GCC unroll 8
        for (int k = 0; k < KW; ++k)
#pragma GCC unroll 16
          for (int i = 0; i < C; ++i) FloatsOf<V>::accumulate(acc[i], pixel(i * S + k), tap[k]);
      }
#pragma GCC unroll 8
      for (int i = 0; i < kBases; ++i) base[i] += row_step;
    }
  }
};

// NV vectors of channels of one pixel, with any taps.
template <class V, int NV, class X, class Y, class Access>
inline __attribute__((always_inline)) void depthwise_window(const DepthwiseWindows& w, const DepthwiseLayer& layer,
                                                            const Clamp<V>& clamp, int64_t q, int64_t channel,
                                                            const Access& access) {
  const X* x = static_cast<const X*>(w.x) + q * w.x_step;
  constexpr int kLanes = V::kLanes;
  typename V::Reg acc[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    acc[v] = layer.bias ? V::load(layer.bias + channel + v * kLanes) : V::zero();
    const int64_t at = q * w.y_step + channel + v * kLanes;
    if (w.residual) acc[v] = with_residual<V>(acc[v], w.residual, w.residual_is_float, at, access);
  }
  for (int64_t i = 0; i < w.rows; ++i)
    for (int64_t j = 0; j < w.columns; ++j) {
      const X* pixel = x + i * w.row_step + j * w.column_step + channel;
      const float* tap = layer.weight + i * layer.weight_row + j * layer.weight_column + channel;
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v)
        FloatsOf<V>::accumulate(acc[v], access.load(pixel + v * kLanes), V::load(tap + v * kLanes));
    }
  Y* y = static_cast<Y*>(w.y) + q * w.y_step + channel;
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    const typename V::Reg one[1] = {acc[v]};
    const int64_t first = channel + v * kLanes;
    store_pixels(layer, clamp, one, y + v * kLanes, 0, first, w.channels - first, access);
  }
}

// Each tap takes one load of the pixel and one of the weight per FMA, which is half the speed of a strip. Four vectors of
// channels at a time hide the latency of the FMA.
template <class V, class X, class Y>
void depthwise_windows(const DepthwiseWindows& w, const DepthwiseLayer& layer) {
  constexpr int kVectors = 4;
  const Clamp<V> clamp(layer);
  for (int64_t q = 0; q < w.count; ++q) {
    const int64_t whole = w.channels / (kVectors * V::kLanes) * (kVectors * V::kLanes);
    for (int64_t channel = 0; channel < whole; channel += kVectors * V::kLanes)
      depthwise_window<V, kVectors, X, Y>(w, layer, clamp, q, channel, WholeVector<V>{});
    for_each_vector<V>(w.channels - whole, [&](int64_t channel, const auto& access) __attribute__((always_inline)) {
      depthwise_window<V, 1, X, Y>(w, layer, clamp, q, whole + channel, access);
    });
  }
  if constexpr (std::is_same_v<Y, float>)
    if (layer.activate)
      layer.activate(static_cast<float*>(w.y), w.y_step, static_cast<int>(w.count), static_cast<int>(w.channels),
                     layer.slopes);
}

// Adds the strips of 1 to C columns.
template <class V, class X, class Y, int KW, int S, int C>
void add_strips(DepthwiseFunctions::Strip* by_columns) {
  if constexpr (C > 1) add_strips<V, X, Y, KW, S, C - 1>(by_columns);
  by_columns[C] = &DepthwiseTile<V, X, Y, KW, S, C>::run;
}

// Returns the functions for images of X and outputs of Y, with strips of up to C3 columns for 3x3 kernels and C5 for 5x5. With a
// stride they have fewer.
template <class V, class X, class Y, int C3, int C5>
DepthwiseFunctions depthwise_functions() {
  DepthwiseFunctions functions;
  add_strips<V, X, Y, 3, 1, C3>(functions.three[1]);
  add_strips<V, X, Y, 3, 2, 8>(functions.three[2]);
  add_strips<V, X, Y, 5, 1, C5>(functions.five[1]);
  add_strips<V, X, Y, 5, 2, 8>(functions.five[2]);
  functions.windows = &depthwise_windows<V, X, Y>;
  return functions;
}

// Adds the functions for images, outputs or residuals of bfloat16. The residual alone has no strips, which no network needs.
template <class V, int C3, int C5>
void add_narrow_depthwise(KernelTable& kernels) {
  kernels.narrow_depthwise[0][0].windows = &depthwise_windows<V, float, float>;
  kernels.narrow_depthwise[0][1] = depthwise_functions<V, float, Bfloat16, C3, C5>();
  kernels.narrow_depthwise[1][0] = depthwise_functions<V, Bfloat16, float, C3, C5>();
  kernels.narrow_depthwise[1][1] = depthwise_functions<V, Bfloat16, Bfloat16, C3, C5>();
}

}  // namespace
}  // namespace loopwright
