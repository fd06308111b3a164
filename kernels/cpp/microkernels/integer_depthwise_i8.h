// Depthwise convolution of 8-bit integers (contract: integer_depthwise.h), templated over a vector type V of bytes, a K×K
// kernel, its stride S along the row, and C pixels of the output.
//
// Words: V::accumulate() sums four products per lane, and a lane is a channel. So the taps of four rows of one column of the
//   kernel are a word. A pixel's bytes of 16 channels are broadcast on load, and a byte shuffle puts each into its lane.
// Ports (Zen 4, 512 bits in two passes; shuffles have two ports, products two, one of them in common): with stride 1, a column
//   of a 3x3 kernel takes 3 shuffles and 3 products, 4 cycles for each vector of outputs, where float32 takes 9. With stride 2,
//   two columns for each output, 6 cycles.
// Registers: C sums, K words of weights for each four rows, one or two words.
#pragma once

#include "microkernels/activations_f32.h"
#include "microkernels/kernel_table.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

template <class V, int K, int S, int C>
struct IntegerDepthwiseTile {
  static constexpr int kPixels = (C - 1) * S + K;  // of the image, under one kernel row
  static constexpr int kWords = (K + V::kProducts - 1) / V::kProducts;
  static_assert(kPixels <= 32, "a bit a pixel");
  using Reg = typename V::Reg;
  using Int = typename V::Int;

  static void run(const IntegerDepthwiseStrip& strip, const IntegerDepthwiseLayer& layer) {
    // Copies, because the compiler cannot prove that an output does not overlap the arguments.
    const IntegerDepthwiseStrip s = strip;
    const IntegerDepthwiseLayer l = layer;
    for (int64_t r = 0; r < s.rows; ++r) {
      Pixels pixels[K];
#pragma GCC unroll 8
      for (int i = 0; i < K; ++i) {
        const int64_t row = s.top + r * s.stride + i * s.dilation;
        const bool is_inside = row >= 0 && row < s.height;
        pixels[i] = is_inside ? Pixels{s.x + row * s.x_row, s.x_pixel, 1} : Pixels{l.zeros, 0, 0};
      }
      int64_t channel = 0;
      for (; channel + V::kLanes <= s.channels; channel += V::kLanes) tile<true>(s, l, pixels, r, channel, V::kLanes);
      if (channel < s.channels) tile<false>(s, l, pixels, r, channel, static_cast<int>(s.channels - channel));
    }
  }

 private:
  // The pixels under a kernel row. Those of rows outside the image are all at one place.
  struct Pixels {
    const uint8_t* first;
    int64_t step, channel_step;  // bytes
  };

  // `count` channels of the row r of the strip.
  template <bool kWhole>
  static inline __attribute__((always_inline)) void tile(const IntegerDepthwiseStrip& s, const IntegerDepthwiseLayer& l,
                                                         const Pixels (&pixels)[K], int64_t r, int64_t channel,
                                                         int count) {
    const auto mask = V::mask(kWhole ? V::kLanes : count);
    Reg acc[C];
    sum<kWhole>(acc, s, l, pixels, channel, count);
    const Reg scale = V::mul(V::load(l.scales + channel), V::set1(l.quantization.x.scale));
    const Reg bias = l.bias ? V::load(l.bias + channel) : V::zero();
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) acc[i] = V::fma(V::to_float(acc[i]), scale, bias);
    if (s.residual.data) add(acc, s.residual, r * s.y_row + channel, mask);
    constexpr float kInfinity = __builtin_inff();
    if (l.activation.lo > -kInfinity || l.activation.hi < kInfinity) {
      const Reg lo = V::set1(l.activation.lo), hi = V::set1(l.activation.hi);
#pragma GCC unroll 16
      for (int i = 0; i < C; ++i) acc[i] = V::min(hi, V::max(lo, acc[i]));  // in this order NaN passes
    }
    if (l.slopes) {
      const Reg slopes = V::load(l.slopes + channel);
#pragma GCC unroll 16
      for (int i = 0; i < C; ++i) acc[i] = Prelu::apply<V>(acc[i], slopes);
    }
    const int64_t at = r * s.y_row + channel;
    if (s.y_dtype == Dtype::kFloat32) {
#pragma GCC unroll 16
      for (int i = 0; i < C; ++i) V::store(static_cast<float*>(s.y) + at + i * s.y_pixel, acc[i], mask);
    } else {
      const typename V::NarrowWriter writer(l.quantization.out);
      writer.template store_pixels<kWhole, C>(static_cast<uint8_t*>(s.y) + at, s.y_pixel, acc, mask);
    }
  }

  template <bool kWhole>
  static inline __attribute__((always_inline)) void sum(Reg (&acc)[C], const IntegerDepthwiseStrip& s,
                                                        const IntegerDepthwiseLayer& l, const Pixels (&pixels)[K],
                                                        int64_t channel, int count) {
    const Reg start = V::product(l.weight_sums + channel, -l.quantization.x.zero_point);
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) acc[i] = start;
    Reg weight[K][kWords];
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 2
      for (int w = 0; w < kWords; ++w) weight[k][w] = V::load(l.weight + (k * kWords + w) * l.weight_step + channel);
    const uint8_t* at[K];
#pragma GCC unroll 8
    for (int i = 0; i < K; ++i) at[i] = pixels[i].first + channel * pixels[i].channel_step;
    const Int sign = V::words_of(l.quantization.x.sign), zero = V::words_of(*l.zeros);
#pragma GCC unroll 32
    for (int j = 0; j < kPixels; ++j) {
      Reg word[kWords];
      if (s.inside & uint32_t{1} << j) {
#pragma GCC unroll 2
        for (int w = 0; w < kWords; ++w) {
          Int bytes = V::template in_lanes<kWhole, 0>(at[w * 4], count);
          if constexpr (K > 1) add_taps<kWhole>(bytes, at, w * 4, count);
          word[w] = V::sums_of(V::exclusive_or(bytes, sign));
        }
      } else {
#pragma GCC unroll 2
        for (int w = 0; w < kWords; ++w) word[w] = V::sums_of(V::exclusive_or(zero, sign));
      }
#pragma GCC unroll 16
      for (int i = 0; i < C; ++i) {
        const int k = j - i * S;
        if (k < 0 || k >= K) continue;
#pragma GCC unroll 2
        for (int w = 0; w < kWords; ++w) V::accumulate(acc[i], word[w], weight[k][w]);
      }
#pragma GCC unroll 8
      for (int i = 0; i < K; ++i) at[i] += pixels[i].step;
    }
  }

  // Adds the bytes of up to three more rows to the words that start with row `first`.
  template <bool kWhole>
  static inline __attribute__((always_inline)) void add_taps(Int& bytes, const uint8_t* const (&at)[K], int first,
                                                             int count) {
    if (first + 1 < K) bytes = V::template add_in_lanes<kWhole, 1>(bytes, at[first + 1], count);
    if (first + 2 < K) bytes = V::template add_in_lanes<kWhole, 2>(bytes, at[first + 2], count);
    if (first + 3 < K) bytes = V::template add_in_lanes<kWhole, 3>(bytes, at[first + 3], count);
  }

  static inline __attribute__((always_inline)) void add(Reg (&acc)[C], const TileResidual& residual, int64_t at,
                                                        typename V::Mask mask) {
    if (residual.dtype == Dtype::kFloat32) {
#pragma GCC unroll 16
      for (int i = 0; i < C; ++i)
        acc[i] = V::add(acc[i], V::load(static_cast<const float*>(residual.data) + at + i * residual.stride, mask));
      return;
    }
    const typename V::NarrowReader reader(residual.integers);
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i)
      acc[i] = reader.add(acc[i], static_cast<const uint8_t*>(residual.data) + at + i * residual.stride, mask);
  }
};

// Adds the strips of 1 to C columns.
template <class V, int K, int S, int C>
void add_integer_strips(IntegerDepthwiseFunctions::Strip* by_columns) {
  if constexpr (C > 1) add_integer_strips<V, K, S, C - 1>(by_columns);
  by_columns[C] = &IntegerDepthwiseTile<V, K, S, C>::run;
}

}  // namespace
}  // namespace loopwright
