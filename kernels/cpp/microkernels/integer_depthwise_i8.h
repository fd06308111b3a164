// Depthwise convolution of 8-bit integers (contract: integer_depthwise.h), templated over a vector type V of bytes, a K×K
// kernel, its stride S along the row, and C pixels of the output.
//
// Words: V::accumulate() sums four products per lane, and a lane is a channel. So the taps of four rows of one column of the
//   kernel are a word. Two rounds of interleaving make words of 64 channels from a vector of bytes of each row.
// Ports (Zen 4, 512 bits in two passes): with stride 1, a column of a 3x3 kernel takes 8 interleavings at 0.67 cycles and 12
//   products at one, for 64 channels. Broadcasting 16 channels and shuffling them into their lanes took 6 cycles for 16.
//   The epilogue takes three instructions on the ports of products per vector, so 6 cycles per vector are the limit.
// Registers: 4·C sums, 4 words for each four rows; the weights are in L1.
#pragma once

#include "microkernels/activations_f32.h"
#include "microkernels/kernel_table.h"
#include "microkernels/rounded_sum.h"

namespace loopwright {
namespace {

template <class V, int K, int S, int C>
struct IntegerDepthwiseTile {
  static constexpr int kPixels = (C - 1) * S + K;  // of the image, under one kernel row
  static constexpr int kWords = (K + V::kProducts - 1) / V::kProducts;
  static constexpr int kVectors = 4;  // of a block
  static constexpr int kBlock = kVectors * V::kLanes;
  static_assert(kBlock == IntegerDepthwiseFunctions::kBlock && K <= IntegerDepthwiseRow::kMaxTaps);
  using Reg = typename V::Reg;
  using Int = typename V::Int;

  static void run(const IntegerDepthwiseRow& row, const IntegerDepthwiseLayer& layer) {
    // Copies, because the compiler cannot prove that an output does not overlap the arguments.
    const IntegerDepthwiseRow r = row;
    const IntegerDepthwiseLayer l = layer;
    for (int64_t tile = 0; tile < r.tiles; ++tile) {
      int64_t channel = 0;
      for (; channel + kBlock <= r.channels; channel += kBlock) block(r, l, tile, channel, WholeBlock{});
      if (channel < r.channels) block(r, l, tile, channel, PartialBlock{V::bytes_mask(r.channels - channel)});
    }
  }

 private:
  struct WholeBlock {
    Int load(const uint8_t* p) const { return V::load_bytes(p); }
    void store(uint8_t* p, Int bytes) const { V::store_bytes(p, bytes); }
  };
  struct PartialBlock {
    typename V::BytesMask mask;
    Int load(const uint8_t* p) const { return V::load_bytes(p, mask); }
    void store(uint8_t* p, Int bytes) const { V::store_bytes(p, bytes, mask); }
  };

  template <class Access>
  static inline __attribute__((always_inline)) void block(const IntegerDepthwiseRow& r, const IntegerDepthwiseLayer& l,
                                                          int64_t tile, int64_t channel, const Access& access) {
    Reg acc[C][kVectors];
    sum(acc, r, l, r.left + tile * C * S, channel, access);
    const int64_t constants = r.channel + channel, at = tile * C * r.y_pixel + channel;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int64_t place = constants + v * V::kLanes;
      const Reg factor = V::set1(l.quantization.factor);
      const Reg scale = V::mul(V::mul(V::load(l.scales + place), V::set1(l.quantization.x.scale)), factor);
      const Reg bias = l.bias ? V::mul(V::load(l.bias + place), factor) : V::zero();
#pragma GCC unroll 4
      for (int i = 0; i < C; ++i) acc[i][v] = V::fma(V::to_float(acc[i][v]), scale, bias);
    }
    if (l.quantization.sum.steps != 0.0f) {
      const RoundedSum<V> rounded(l.quantization.sum);
      apply(acc, [&](Reg x, int) { return rounded(x); });
    }
    if (r.residual) {
      const typename V::NarrowReader reader(l.quantization.residual);
#pragma GCC unroll 4
      for (int i = 0; i < C; ++i) reader.add_block(acc[i], access.load(r.residual + at + i * r.y_pixel));
    }
    constexpr float kInfinity = __builtin_inff();
    if (l.activation.lo > -kInfinity || l.activation.hi < kInfinity) {
      const Reg lo = V::set1(l.activation.lo * l.quantization.unit);
      const Reg hi = V::set1(l.activation.hi * l.quantization.unit);
      apply(acc, [&](Reg x, int) { return V::min(hi, V::max(lo, x)); });  // in this order NaN passes
    }
    if (l.slopes)
      apply(acc, [&](Reg x, int v) { return Prelu::apply<V>(x, V::load(l.slopes + constants + v * V::kLanes)); });
    const typename V::NarrowWriter writer(l.quantization.out);
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i) access.store(r.y + at + i * r.y_pixel, writer.block(acc[i]));
  }

  template <class F>
  static inline __attribute__((always_inline)) void apply(Reg (&acc)[C][kVectors], const F& f) {
#pragma GCC unroll 4
    for (int i = 0; i < C; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[i][v] = f(acc[i][v], v);
  }

  // The sums of C pixels whose first tap is in this column of the image.
  template <class Access>
  static inline __attribute__((always_inline)) void sum(Reg (&acc)[C][kVectors], const IntegerDepthwiseRow& r,
                                                        const IntegerDepthwiseLayer& l, int64_t column, int64_t channel,
                                                        const Access& access) {
    const int64_t constants = r.channel + channel;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Reg start = V::product(l.weight_sums + constants + v * V::kLanes, -l.quantization.x.zero_point);
#pragma GCC unroll 4
      for (int i = 0; i < C; ++i) acc[i][v] = start;
    }
    const float* const weight = l.weight + constants;
    const Int sign = V::bytes_of(l.quantization.x.sign), zero = V::bytes_of(l.zero);
#pragma GCC unroll 16
    for (int j = 0; j < kPixels; ++j) {
      const bool is_inside = column + j >= 0 && column + j < r.width;
      const int64_t at = (column + j) * r.x_pixel + channel;
#pragma GCC unroll 2
      for (int w = 0; w < kWords; ++w) {
        Int rows[V::kProducts];
#pragma GCC unroll 4
        for (int i = 0; i < V::kProducts; ++i) {
          const int tap = w * V::kProducts + i;
          if (tap >= K) {
            rows[i] = V::no_bytes();
          } else {
            rows[i] = V::exclusive_or(is_inside && r.x[tap] ? access.load(r.x[tap] + at) : zero, sign);
          }
        }
        Reg words[kVectors];
        V::interleave(rows, words);
#pragma GCC unroll 4
        for (int i = 0; i < C; ++i) {
          const int k = j - i * S;
          if (k < 0 || k >= K) continue;
          const float* const taps = weight + (k * kWords + w) * l.weight_step;
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) V::accumulate_packed(acc[i][v], words[v], taps + v * V::kLanes);
        }
      }
    }
  }
};

// Adds the functions for tiles of 1 to C pixels.
template <class V, int K, int S, int C = IntegerDepthwiseFunctions::kMaxColumns>
void add_integer_depthwise(IntegerDepthwiseFunctions::Row* by_columns) {
  if constexpr (C > 1) add_integer_depthwise<V, K, S, C - 1>(by_columns);
  by_columns[C] = &IntegerDepthwiseTile<V, K, S, C>::run;
}

}  // namespace
}  // namespace loopwright
