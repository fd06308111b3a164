// Weights of few bits (contract: block_weights.h), templated over the vector type V.
//
// Numbers are masked and converted to floats where they are in their half of a word, so number p counts 2^(bits * p) times. x is
// given over that power. All of this is exact. Sums of a block are multiplied by its scale once:
//
//   sum of x * (number - zero) * scale  =  (sum of x * number  -  zero * sum of x) * scale
//
// With 2 and 4 bits, zero points are subtracted from the sums, as on the right; numbers are at most a few times as large as their
// distance from zero, and so is the error of the sum. Those of 8 bits can be 100 times as large, so each is subtracted.
//
// Per vector of weights: a bitwise operation, a conversion, and an FMA per row of x; a shift per word. On Zen 3, with four vector
// ports, a row takes 0.8 cycles for 8 weights: 5 bytes of 4-bit weights per cycle, more than memory delivers to one core.
#pragma once

#include <type_traits>

#include "microkernels/kernel_table.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

template <class V, int kBits, int NV>
struct BlockWeights {
  using Reg = typename V::Reg;
  static constexpr int kPerWord = 32 / kBits;
  static constexpr int kColumns = NV * V::kLanes;
  static constexpr int kHalf = kPerWord / 2;     // numbers
  static constexpr bool kCentered = kBits == 8;  // whether zero points are subtracted from numbers

  static inline __attribute__((always_inline)) Reg zero(const BlockWeightArgs& args, int64_t block, int vector) {
    const int64_t column = block * kColumns + vector * V::kLanes;
    return args.zeros ? V::from_bytes(args.zeros + column) : V::set1(static_cast<float>(args.zero));
  }
  static inline __attribute__((always_inline)) Reg scale(const BlockWeightArgs& args, int64_t block, int vector) {
    return V::load(args.scales + block * kColumns + vector * V::kLanes);
  }

  // Calls f(std::integral_constant) for each number of half a word.
  template <int kPlace = 0, class F>
  static inline __attribute__((always_inline)) void for_each_place(const F& f) {
    if constexpr (kPlace < kHalf) {
      f(std::integral_constant<int, kPlace>());
      for_each_place<kPlace + 1>(f);
    }
  }

  // Calls f(block, its first word, the one behind its last) for the blocks of the range.
  template <class F>
  static inline __attribute__((always_inline)) void for_each_block(const BlockWeightArgs& args, const F& f) {
    for (int64_t word = args.first; word < args.last;) {
      const int64_t block = word / args.block_words, end = (block + 1) * args.block_words;
      f(block, word, end < args.last ? end : args.last);
      word = end;
    }
  }

  // Products of MR rows. A single row spreads the numbers of a word over two chains of FMAs, to hide their latency.
  template <int MR>
  static void multiply(const BlockProductArgs& args) {
    constexpr int kChains = MR * NV >= 4 ? 1 : 2;
    const BlockWeightArgs& weights = args.weights;
    Reg total[MR][NV];
    clear(total);
    const float *x = args.x, *x_sums = args.x_sums;
    for_each_block(weights, [&](int64_t block, int64_t first, int64_t last) __attribute__((always_inline)) {
      Reg zeros[NV][kHalf], sums[kChains][MR][NV];
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) spread(zero(weights, block, j), zeros[j]);
      for (int s = 0; s < kChains; ++s) clear(sums[s]);
      const uint32_t* words = weights.words + first * kColumns;
      for (int64_t word = first; word < last; ++word, words += kColumns) {
        typename V::Int w[NV];
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) w[j] = V::load_words(words + j * V::kLanes);
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
          for_each_place([&](auto place) __attribute__((always_inline)) {
            constexpr int kPlace = decltype(place)::value;
            Reg numbers[NV];
#pragma GCC unroll 2
            for (int j = 0; j < NV; ++j) numbers[j] = V::template number<kBits, kBits * kPlace>(w[j]);
            if constexpr (kCentered)
#pragma GCC unroll 2
              for (int j = 0; j < NV; ++j) numbers[j] = V::sub(numbers[j], zeros[j][kPlace]);
#pragma GCC unroll 4
            for (int i = 0; i < MR; ++i) {
              const Reg factor = V::set1(x[kPlace * MR + i]);
#pragma GCC unroll 2
              for (int j = 0; j < NV; ++j) {
                Reg& sum = sums[kPlace % kChains][i][j];
                sum = V::fma(factor, numbers[j], sum);
              }
            }
          });
          x += kHalf * MR;
#pragma GCC unroll 2
          for (int j = 0; j < NV; ++j) w[j] = V::upper_halves(w[j]);
        }
      }
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) {
        const Reg factor = scale(weights, block, j);
#pragma GCC unroll 4
        for (int i = 0; i < MR; ++i) {
          Reg sum = kChains == 2 ? V::add(sums[0][i][j], sums[kChains - 1][i][j]) : sums[0][i][j];
          if constexpr (!kCentered) sum = V::fnma(V::set1(x_sums[i]), zeros[j][0], sum);
          total[i][j] = V::fma(sum, factor, total[i][j]);
        }
      }
      x_sums += MR;
    });
    const PartialVector<V> last{V::mask(args.n - (NV - 1) * V::kLanes)};
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      float* c = args.c + i * args.c_stride;
      if constexpr (NV == 2) V::store(c, V::add(V::load(c), total[i][0]));
      c += (NV - 1) * V::kLanes;
      last.store(c, V::add(last.load(c), total[i][NV - 1]));
    }
  }

  // Returns zero points where they are in their half of a word.
  static inline __attribute__((always_inline)) void spread(Reg zero, Reg (&places)[kHalf]) {
#pragma GCC unroll 8
    for (int p = 0; p < kHalf; ++p) places[p] = V::mul(zero, V::set1(static_cast<float>(1 << (kBits * p))));
  }

  template <int MR>
  static inline __attribute__((always_inline)) void clear(Reg (&sums)[MR][NV]) {
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) sums[i][j] = V::zero();
  }

  // The product with the scale rounds once.
  static void values(const BlockWeightArgs& args, float* to) {
    for_each_block(args, [&](int64_t block, int64_t first, int64_t last) __attribute__((always_inline)) {
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) {
        const Reg factor = scale(args, block, j);
        Reg zeros[kHalf];
        spread(zero(args, block, j), zeros);
        const uint32_t* words = args.words + first * kColumns + j * V::kLanes;
        float* column = to + (first - args.first) * kPerWord * kColumns + j * V::kLanes;
        for (int64_t word = first; word < last; ++word, words += kColumns) {
          auto w = V::load_words(words);
#pragma GCC unroll 2
          for (int half = 0; half < 2; ++half) {
            for_each_place([&](auto place) __attribute__((always_inline)) {
              constexpr int kPlace = decltype(place)::value;
              const Reg number = V::sub(V::template number<kBits, kBits * kPlace>(w), zeros[kPlace]);
              const Reg inverse = V::set1(1.0f / static_cast<float>(1 << (kBits * kPlace)));
              V::store(column + kPlace * kColumns, V::mul(number, V::mul(factor, inverse)));
            });
            column += kHalf * kColumns;
            w = V::upper_halves(w);
          }
        }
      }
    });
  }

  static void add_to(BlockWeightFunctions& functions) {
    functions.products[NV][1] = &multiply<1>;
    functions.products[NV][2] = &multiply<2>;
    functions.products[NV][3] = &multiply<3>;
    functions.products[NV][4] = &multiply<4>;
    functions.values[NV] = &values;
  }
};

template <class V, int kBits>
BlockWeightFunctions block_weight_functions() {
  BlockWeightFunctions functions;
  BlockWeights<V, kBits, 1>::add_to(functions);
  BlockWeights<V, kBits, 2>::add_to(functions);
  return functions;
}

template <class V>
BlockWeightTable block_weight_table() {
  return {block_weight_functions<V, 2>(), block_weight_functions<V, 4>(), block_weight_functions<V, 8>()};
}

}  // namespace
}  // namespace loopwright
