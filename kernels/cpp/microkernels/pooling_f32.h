// Rows of pooled pixels (contract: pool_row.h) for float32, templated over the vector type V. Images are read in place. A
// window at a border is a smaller window. There are three loops:
//
// pool_vectors reduces a window pixel by pixel with its channels in up to kPoolVectors registers: one load and one operation
//   per tap and vector, on independent accumulators. A maximum that keeps NaN takes two operations.
//
// pool_window is for a single window of many channels, which is global pooling: pixel by pixel, with the results in L1. Two
//   loads, one operation and one store per tap and vector limit it to one vector per cycle, but it reads the image in the
//   order of memory. On Zen 5 it reads 7x7x2048 from L2 at 45 bytes per cycle, of at most 64, and pool_vectors at 28.
//
// max_3x3 is for windows of 3x3 pixels and stride 2. They share a column, whose maximum is computed once. NaN is searched for
//   with one comparison per two values, and a row that contains any is computed again by pool_vectors. That is 6 loads, 3
//   comparisons, 6 maxima and 1 store per vector, 4.5 cycles on two ports, where pool_vectors takes 9 loads and 18
//   operations. So the limit is memory: on Zen 5, 112x112x64 takes 43 µs, of which reading the image once from L3 is 26.
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

// y = join(y, x) for n floats, or join(start, x) if `starts`.
template <class V, class Reduction>
__attribute__((noinline)) void join_pixel(const float* x, float* y, int64_t n, bool starts) {
  if (starts) {
    for_each_vector<V, 2>(n, [&](int64_t i, const auto& access) {
      access.store(y + i, Reduction::join(Reduction::start(), access.load(x + i)));
    });
  } else {
    for_each_vector<V, 2>(n, [&](int64_t i, const auto& access) {
      access.store(y + i, Reduction::join(access.load(y + i), access.load(x + i)));
    });
  }
}

// The only window of a row, of which some columns are inside the image.
template <class V, class Reduction>
void pool_window(const PoolRow& row, const Taps& inside) {
  constexpr int64_t kChannels = 2048;  // of one pass; y and total stay in L1
  alignas(64) float total[kChannels];  // of the blocks before this one
  const bool in_blocks = Reduction::kRounds && row.rows * inside.count > kPoolBlock;
  const float divisor = Reduction::divisor(row, -row.pad);
  const int64_t step = row.dilation * row.pixel_stride;
  for (int64_t c = 0; c < row.channels; c += kChannels) {
    const int64_t channels = row.channels - c < kChannels ? row.channels - c : kChannels;
    const float* x = row.x + c + (inside.first * row.dilation - row.pad) * row.pixel_stride;
    float* y = row.y + c;
    const auto add_block = [&](bool first) {
      for_each_vector<V>(channels, [&](int64_t i, const auto& access) {
        const auto sum = access.load(y + i);
        access.store(total + i, first ? sum : V::add(access.load(total + i), sum));
      });
    };
    int64_t taps = 0;
    for (int64_t i = 0; i < row.rows; ++i, x += row.row_stride)
      for (int64_t j = 0; j < inside.count; ++j, ++taps) {
        const bool block_starts = in_blocks && taps % kPoolBlock == 0;
        if (block_starts && taps > 0) add_block(taps == kPoolBlock);
        join_pixel<V, Reduction>(x + j * step, y, channels, block_starts || taps == 0);
      }
    for_each_vector<V, 2>(channels, [&](int64_t i, const auto& access) {
      auto sum = access.load(y + i);
      if (in_blocks) sum = V::add(access.load(total + i), sum);
      access.store(y + i, Reduction::finish(sum, divisor));
    });
  }
}

// Whether max_3x3 computes this row: every window is 3 pixels wide, shares a column with the next one, and contains a pixel.
bool is_max_3x3(const PoolRow& row) {
  return row.kernel == 3 && row.stride == 2 && row.dilation == 1 && row.rows >= 1 && row.rows <= 3 && row.pad < 3 &&
         (row.ow - 1) * 2 - row.pad < row.w;
}

// The maxima of such a row, for N vectors of channels that start at x and y. Rows and columns outside the image are replaced
// with the nearest ones of the window, which changes no maximum. Returns false if a value is NaN; the results are then wrong.
template <class V, int N, class Access>
bool max_3x3(const PoolRow& row, const float* x, float* y, const Access& access) {
  using Reg = typename V::Reg;
  const int64_t pixel = row.pixel_stride, end = row.w - 1, ow = row.ow, pad = row.pad;
  const int64_t middle = row.rows > 1 ? row.row_stride : 0, bottom = row.rows > 2 ? 2 * row.row_stride : middle;
  const auto column = [&](int64_t q) __attribute__((always_inline)) {
    return x + (q < 0 ? 0 : q > end ? end : q) * pixel;
  };
  typename V::Ordered ordered[N];
  Reg shared[N];
  const float* first = column(-pad);
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) {
    const float* from = first + v * V::kLanes;
    const Reg a = access.load(from), b = access.load(from + middle), c = access.load(from + bottom);
    ordered[v] = V::ordered(V::ordered(V::all_ordered(), a, b), c, c);
    shared[v] = V::max(V::max(a, b), c);
  }
  for (int64_t q = 0; q < ow; ++q, y += pixel) {
    const float *second = column(2 * q + 1 - pad), *third = column(2 * q + 2 - pad);
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) {
      const float *from = second + v * V::kLanes, *last = third + v * V::kLanes;
      const Reg a = access.load(from), b = access.load(from + middle), c = access.load(from + bottom);
      const Reg d = access.load(last), e = access.load(last + middle), f = access.load(last + bottom);
      ordered[v] = V::ordered(V::ordered(V::ordered(ordered[v], a, b), c, d), e, f);
      const Reg of_third = V::max(V::max(d, e), f);
      access.store(y + v * V::kLanes, V::max(V::max(shared[v], of_third), V::max(V::max(a, b), c)));
      shared[v] = of_third;
    }
  }
  bool numbers = true;
  for (int v = 0; v < N; ++v) numbers &= V::all(ordered[v]);
  return numbers;
}

template <class V, class Reduction, bool kInBlocks>
struct AnyWindows {
  template <int N, class Access>
  static bool run(const PoolRow& row, const float* x, float* y, const Access& access) {
    pool_vectors<V, Reduction, N, kInBlocks>(row, x, y, access);
    return true;
  }
};

template <class V>
struct Max3x3 {
  template <int N, class Access>
  static bool run(const PoolRow& row, const float* x, float* y, const Access& access) {
    return max_3x3<V, N>(row, x, y, access);
  }
};

// The channels from c on: N vectors at a time, then half as many, and finally part of one. Stops if the loop returns false,
// and returns that.
template <class V, class Loop, int N>
bool pool_channels(const PoolRow& row, int64_t c) {
  for (; c + N * V::kLanes <= row.channels; c += N * V::kLanes)
    if (!Loop::template run<N>(row, row.x + c, row.y + c, WholeVector<V>{})) return false;
  if (c == row.channels) return true;
  if constexpr (N > 1) {
    return pool_channels<V, Loop, N / 2>(row, c);
  } else {
    const PartialVector<V> rest{V::mask(static_cast<int>(row.channels - c))};
    return Loop::template run<1>(row, row.x + c, row.y + c, rest);
  }
}

template <class V, class Reduction>
void pool_row(const PoolRow& row) {
  // Vectors of half a cache line take two stores per line, which is worth it only where pool_vectors is slowest: pixels whose
  // channels are a multiple of 4 KiB apart are in the same sets of L1.
  constexpr bool kWholeLines = V::kLanes % 16 == 0;
  const bool pages = row.pixel_stride % 1024 == 0;
  if ((kWholeLines || pages) && row.ow == 1 && row.rows > 0 && row.channels > kPoolVectors * V::kLanes) {
    const Taps inside = taps_between(-row.pad, row.kernel, row.dilation, 0, row.w);
    if (inside.count > 0) return pool_window<V, Reduction>(row, inside);
  }
  if constexpr (Reduction::kRounds) {
    if (row.rows * row.kernel > kPoolBlock) {
      pool_channels<V, AnyWindows<V, Reduction, true>, kPoolVectors>(row, 0);
      return;
    }
  } else {
    if (is_max_3x3(row) && pool_channels<V, Max3x3<V>, kPoolVectors / 2>(row, 0)) return;
  }
  pool_channels<V, AnyWindows<V, Reduction, false>, kPoolVectors>(row, 0);
}

template <class V>
constexpr PoolFunctions pool_functions() {
  return {&pool_row<V, LargestOfWindow<V>>, &pool_row<V, MeanOfWindow<V>>};
}

}  // namespace
}  // namespace loopwright
