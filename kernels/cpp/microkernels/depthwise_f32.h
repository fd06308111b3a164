// Depthwise convolution (contract: depthwise.h) for float32, templated over the vector type V, the width KW of the kernel,
// its stride S along the row, and C pixels of the output.
//
// Registers: C accumulators, KW weights of one kernel row, one pixel: C + KW + 1 <= V::kRegisters.
// Ports: a vector of channels of C pixels takes C·KW FMAs per kernel row and (C - 1)·S + 2·KW loads, because each pixel is
//   loaded once and added to all sums that it is part of. So FMAs are the limit: with two FMA ports, 4.5 cycles per output
//   vector for 3x3 and 12.5 for 5x5.
// Bytes: a strip moves down the image. All but the newest S rows under its windows are still in L1. So each pixel is loaded
//   once from L2 or beyond, and a share of (KW - S) / C once more for the next strip, per output stored.
#pragma once

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

template <class V, int KW, int S, int C>
struct DepthwiseTile {
  static constexpr int kPixels = (C - 1) * S + KW;  // of the image, under one kernel row
  static_assert(C + KW + 1 <= V::kRegisters, "the tile does not fit the register file");
  static_assert(kPixels <= 32, "a bit a pixel");

  using Reg = typename V::Reg;
  alignas(64) static constexpr float kZeros[V::kLanes] = {};

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
      const float* x = s.x + r * s.x_row;
      const float* residual = s.residual ? s.residual + r * s.y_row : nullptr;
      float* y = s.y + r * s.y_row;
      for_each_vector<V>(s.channels, [&](int64_t channel, const auto& access) __attribute__((always_inline)) {
        Reg acc[C];
        start(acc, layer.bias ? layer.bias + channel : nullptr, residual ? residual + channel : nullptr, s.y_pixel,
              access);
        sum<kMargin>(acc, s, layer, x + channel, layer.weight + channel, access);
        float* to = y + channel;
#pragma GCC unroll 16
        for (int i = 0; i < C; ++i, to += s.y_pixel) access.store(to, clamp(acc[i]));
      });
      if (layer.activate) layer.activate(y, s.y_pixel, C, static_cast<int>(s.channels), layer.slopes);
    }
  }

  template <class Access>
  static inline __attribute__((always_inline)) void start(Reg (&acc)[C], const float* bias, const float* residual,
                                                          int64_t y_pixel, const Access& access) {
    const Reg first = bias ? V::load(bias) : V::zero();
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) acc[i] = first;
    if (!residual) return;
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) acc[i] = V::add(acc[i], access.load(residual + i * y_pixel));
  }

  // One vector of channels. Pixels outside the image are loaded from zeros: selecting an address costs less than a branch per
  // pixel, but as much as the FMAs of the pixel.
  template <int kMargin, class Access>
  static inline __attribute__((always_inline)) void sum(Reg (&acc)[C], const DepthwiseStrip& s,
                                                        const DepthwiseLayer& layer, const float* from,
                                                        const float* weight, const Access& access) {
    // Every fifth pixel has a base register, as rows have in brgemm_f32.h.
    constexpr int kBases = (kPixels + 4) / 5;
    const int64_t stride = s.x_pixel * static_cast<int64_t>(sizeof(float)), stride3 = 3 * stride;  // bytes
    const char* base[kBases];
#pragma GCC unroll 8
    for (int i = 0; i < kBases; ++i) base[i] = reinterpret_cast<const char*>(from) + 5 * i * stride;
    const int64_t row_step = s.kernel_row_step * static_cast<int64_t>(sizeof(float));
    for (int64_t t = s.kernel_rows; t > 0; --t, weight += layer.weight_row) {
      uint32_t inside = s.inside;
      asm volatile("" : "+r"(inside));  // otherwise GCC extracts the bits before the loop, more than it has registers
      Reg tap[KW];
#pragma GCC unroll 8
      for (int k = 0; k < KW; ++k) tap[k] = V::load(weight + k * layer.weight_column);
      const auto pixel = [&](int j) __attribute__((always_inline)) {
        const auto* at = reinterpret_cast<const float*>(base[j / 5] + (j % 5 == 3 ? stride3 : j % 5 * stride));
        const bool surely_inside = j >= kMargin && j < kPixels - kMargin;
        return access.load(surely_inside || (inside & uint32_t{1} << j) ? at : kZeros);
      };
      if constexpr (S == 1) {
#pragma GCC unroll 32
        for (int j = 0; j < kPixels; ++j) {
          const Reg x = pixel(j);
#pragma GCC unroll 16
          for (int i = 0; i < C; ++i)
            if (j - i >= 0 && j - i < KW) V::accumulate(acc[i], x, tap[j - i]);
        }
      } else {  // few sums share a pixel, so this order keeps consecutive FMAs independent
#pragma GCC unroll 8
        for (int k = 0; k < KW; ++k)
#pragma GCC unroll 16
          for (int i = 0; i < C; ++i) V::accumulate(acc[i], pixel(i * S + k), tap[k]);
      }
#pragma GCC unroll 8
      for (int i = 0; i < kBases; ++i) base[i] += row_step;
    }
  }
};

// NV vectors of channels of one pixel, with any taps.
template <class V, int NV, class Access>
inline __attribute__((always_inline)) void depthwise_window(const DepthwiseWindows& w, const DepthwiseLayer& layer,
                                                            const Clamp<V>& clamp, const float* x,
                                                            const float* residual, float* y, int64_t channel,
                                                            const Access& access) {
  constexpr int kLanes = V::kLanes;
  typename V::Reg acc[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    acc[v] = layer.bias ? V::load(layer.bias + channel + v * kLanes) : V::zero();
    if (residual) acc[v] = V::add(acc[v], access.load(residual + channel + v * kLanes));
  }
  for (int64_t i = 0; i < w.rows; ++i)
    for (int64_t j = 0; j < w.columns; ++j) {
      const float* pixel = x + i * w.row_step + j * w.column_step + channel;
      const float* tap = layer.weight + i * layer.weight_row + j * layer.weight_column + channel;
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) V::accumulate(acc[v], access.load(pixel + v * kLanes), V::load(tap + v * kLanes));
    }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) access.store(y + channel + v * kLanes, clamp(acc[v]));
}

// Each tap takes one load of the pixel and one of the weight per FMA, which is half the speed of a strip. Four vectors of
// channels at a time hide the latency of the FMA.
template <class V>
void depthwise_windows(const DepthwiseWindows& w, const DepthwiseLayer& layer) {
  constexpr int kVectors = 4;
  const Clamp<V> clamp(layer);
  for (int64_t q = 0; q < w.count; ++q) {
    const float* x = w.x + q * w.x_step;
    float* y = w.y + q * w.y_step;
    const float* added = w.residual ? w.residual + q * w.y_step : nullptr;
    const int64_t whole = w.channels / (kVectors * V::kLanes) * (kVectors * V::kLanes);
    for (int64_t channel = 0; channel < whole; channel += kVectors * V::kLanes)
      depthwise_window<V, kVectors>(w, layer, clamp, x, added, y, channel, WholeVector<V>{});
    for_each_vector<V>(w.channels - whole, [&](int64_t channel, const auto& access) __attribute__((always_inline)) {
      depthwise_window<V, 1>(w, layer, clamp, x, added, y, whole + channel, access);
    });
  }
  if (layer.activate)
    layer.activate(w.y, w.y_step, static_cast<int>(w.count), static_cast<int>(w.channels), layer.slopes);
}

// Adds the strips of 1 to C columns.
template <class V, int KW, int S, int C>
void add_strips(DepthwiseFunctions::Strip* by_columns) {
  if constexpr (C > 1) add_strips<V, KW, S, C - 1>(by_columns);
  by_columns[C] = &DepthwiseTile<V, KW, S, C>::run;
}

}  // namespace
}  // namespace loopwright
