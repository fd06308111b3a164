// Rows of pooled pixels (contract: pool_row.h) for float32, templated over the vector type V.
//
// A window is reduced pixel by pixel with its channels in up to kPoolVectors registers: one load and one operation per tap
// and vector, on independent accumulators. Images are read in place. A window at a border is a smaller window.
#pragma once

#include "microkernels/kernel_table.h"
#include "microkernels/pool_row.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

constexpr int kPoolVectors = 8;
// A sum of more taps is the sum of the sums of this many, so that its error does not grow with the size of an image: the
// mean of 80×80 pixels has an error of 281 roundings at most, not of 6400. Shorter sums need no further registers.
constexpr int64_t kPoolBlock = 256;

template <class V>
struct LargestOfWindow {
  using Reg = typename V::Reg;
  static Reg start() { return V::set1(-__builtin_inff()); }
  static constexpr bool kRounds = false;
  static Reg join(Reg acc, Reg x) { return V::max_or_nan(x, acc); }
  static float divisor(const PoolRow&, int64_t) { return 1.0f; }
  static Reg finish(Reg acc, float) { return acc; }
};

template <class V>
struct MeanOfWindow {
  using Reg = typename V::Reg;
  static Reg start() { return V::zero(); }
  static constexpr bool kRounds = true;
  static Reg join(Reg acc, Reg x) { return V::add(acc, x); }
  // For the window that starts in column `first`.
  static float divisor(const PoolRow& row, int64_t first) {
    const Taps counted = taps_between(first, row.kernel, row.dilation, row.counted_begin, row.counted_end);
    return static_cast<float>(row.counted_rows * counted.count);
  }
  static Reg finish(Reg acc, float divisor) { return V::div(acc, V::set1(divisor)); }
};

// The entire row, for N vectors of channels that start at x and y.
template <class V, class Reduction, int N, bool kInBlocks, class Access>
void pool_vectors(const PoolRow& row, const float* x, float* y, const Access& access) {
  const int64_t step = row.dilation * row.pixel_stride;
  for (int64_t q = 0; q < row.ow; ++q, y += row.pixel_stride) {
    const int64_t first = q * row.stride - row.pad;
    const Taps inside = taps_between(first, row.kernel, row.dilation, 0, row.w);
    const float* window = x + (first + inside.first * row.dilation) * row.pixel_stride;
    typename V::Reg acc[N];
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) acc[v] = Reduction::start();
    const auto add_taps = [&](const float* pixel, int64_t taps) __attribute__((always_inline)) {
      for (int64_t j = 0; j < taps; ++j, pixel += step)
#pragma GCC unroll 8
        for (int v = 0; v < N; ++v) acc[v] = Reduction::join(acc[v], access.load(pixel + v * V::kLanes));
    };
    if constexpr (kInBlocks) {
      typename V::Reg total[N];
      for (int v = 0; v < N; ++v) total[v] = V::zero();
      const auto end_block = [&] {
        for (int v = 0; v < N; ++v) {
          total[v] = V::add(total[v], acc[v]);
          acc[v] = V::zero();
        }
      };
      int64_t room = kPoolBlock;
      for (int64_t i = 0; i < row.rows; ++i, window += row.row_stride)
        for (int64_t j = 0, taps; j < inside.count; j += taps) {
          taps = inside.count - j < room ? inside.count - j : room;
          add_taps(window + j * step, taps);
          room -= taps;
          if (room > 0) continue;
          end_block();
          room = kPoolBlock;
        }
      end_block();
      for (int v = 0; v < N; ++v) acc[v] = total[v];
    } else {
      for (int64_t i = 0; i < row.rows; ++i, window += row.row_stride) add_taps(window, inside.count);
    }
    const float divisor = Reduction::divisor(row, first);
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) access.store(y + v * V::kLanes, Reduction::finish(acc[v], divisor));
  }
}

// The channels from c on: N vectors at a time, then half as many, and finally part of one.
template <class V, class Reduction, int N, bool kInBlocks>
void pool_channels(const PoolRow& row, int64_t c) {
  for (; c + N * V::kLanes <= row.channels; c += N * V::kLanes)
    pool_vectors<V, Reduction, N, kInBlocks>(row, row.x + c, row.y + c, WholeVector<V>{});
  if (c == row.channels) return;
  if constexpr (N > 1) {
    pool_channels<V, Reduction, N / 2, kInBlocks>(row, c);
  } else {
    const PartialVector<V> rest{V::mask(static_cast<int>(row.channels - c))};
    pool_vectors<V, Reduction, 1, kInBlocks>(row, row.x + c, row.y + c, rest);
  }
}

template <class V, class Reduction>
void pool_row(const PoolRow& row) {
  if constexpr (Reduction::kRounds)
    if (row.rows * row.kernel > kPoolBlock) return pool_channels<V, Reduction, kPoolVectors, true>(row, 0);
  pool_channels<V, Reduction, kPoolVectors, false>(row, 0);
}

template <class V>
constexpr PoolFunctions pool_functions() {
  return {&pool_row<V, LargestOfWindow<V>>, &pool_row<V, MeanOfWindow<V>>};
}

}  // namespace
}  // namespace loopwright
