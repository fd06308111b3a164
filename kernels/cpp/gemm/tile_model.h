// Cycles of matrix products in register tiles, by the costs of a machine model. Default schedules rank candidates by them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/split.h"
#include "loopwright/machine_model.h"
#include "loopwright/thread_split.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

// A register tile: at most mr rows and `vectors` vectors of columns, or `narrow` columns, which are fewer than a vector.
struct TileShape {
  int mr, vectors, narrow = 0;

  int nr(int lanes) const { return narrow > 0 ? narrow : vectors * lanes; }
  // The panels of this width that n columns make.
  int64_t panels(int64_t n, int lanes) const {
    return narrow > 0 ? ceil_div(n, narrow) : ceil_div(ceil_div(n, lanes), vectors);
  }
};

// Returns the cycles of `count` panels of `n` columns in all, or of the first (and widest) `panels` of them, for one tile
// of `rows` rows and a sum over k words.
inline double row_of_tiles_cycles(const KernelCosts& costs, const KernelTable& kernels, int rows, int64_t n,
                                  int vectors, int64_t panels, double k, Level level) {
  const EvenSplit split(ceil_div(n, kernels.lanes), vectors);
  const auto cycles = [&](int64_t halves) { return costs.tile(rows, static_cast<int>(halves)).cycles(k, level); };
  const int64_t wide = std::min(split.higher, panels), others = std::min(panels, split.count) - wide;
  double sum = static_cast<double>(wide) * cycles(2 * (split.low + 1));
  if (others == 0) return sum;
  sum += static_cast<double>(others) * cycles(2 * split.low);
  if (panels < split.count) return sum;
  // The last panel may need only half of its last vector.
  const int64_t missing = ceil_div(n, kernels.lanes) * kernels.lanes - n;
  if (missing < kernels.lanes / 2 || !kernels.half_tiles[rows][split.low]) return sum;
  return sum + cycles(2 * split.low - 1) - cycles(2 * split.low);
}

// Activities that run in parallel delay each other by this part of the shorter.
constexpr double kDelay = 0.2;
// The costs of a tile with its panel in L2 have most of the delay that the panel's loads cause. Consecutive rows cause little
// more; the rows of windows, which are apart, cause as much as other activities.
constexpr double kPanelDelayOfDense = 0.05, kPanelDelayOfWindows = kDelay;

// The part of the time to read rows from L2 by which they delay the products. They come in as many streams as a tile has rows,
// which the hardware prefetches less well than the panel. Products of AVX2's vectors leave it time enough: without the delay,
// tiles of 2 rows are not preferred, and 65 layers on Zen 3 are 1.03 times as fast (geometric mean; 0.91 to 1.23).
inline double rows_delay(Isa isa) { return isa == Isa::kAvx512 ? 1.0 : 0.0; }

inline double overlapped(double a, double b) { return std::max(a, b) + kDelay * std::min(a, b); }

// Returns the cycles of m rows and the first `panels` panels of n columns, for sums over k words. Rows and columns are
// divided evenly into the fewest tiles. Each panel reads the rows again from L2, and each tile its panel if it comes from
// there, at `l2_bytes` bytes per cycle. The loads of panels delay the tiles by the part `panel_delay` of their time. A call
// computes the tiles of a panel.
inline double product_cycles(const KernelCosts& costs, const KernelTable& kernels, int64_t m, int64_t n,
                             const TileShape& tile, int64_t panels, double k, Level level, double l2_bytes,
                             double panel_delay) {
  const EvenSplit rows(m, tile.mr);
  const auto cycles = [&](int64_t height) {
    return row_of_tiles_cycles(costs, kernels, static_cast<int>(height), n, tile.vectors, panels, k, level);
  };
  double sum = static_cast<double>(rows.count - rows.higher) * cycles(rows.low);
  if (rows.higher > 0) sum += static_cast<double>(rows.higher) * cycles(rows.low + 1);
  const double of_rows = static_cast<double>(m * panels) * k * sizeof(float) / l2_bytes;
  const double of_panels =
      level == Level::kL1
          ? 0.0
          : static_cast<double>(rows.count * panels * tile.vectors * kernels.lanes) * k * sizeof(float) / l2_bytes;
  return std::max(sum, of_rows + of_panels) + rows_delay(costs.isa) * of_rows + panel_delay * of_panels +
         static_cast<double>(panels) * costs.call;
}

// Returns the cycles of m rows and `panels` panels of a tile that is narrower than a vector, for sums over `runs` runs of k
// floats. The tables of costs lack these tiles: their FMAs and loads take the time of those of a wide tile, and the sums
// over the lanes, with the end of the tile, three instructions per lane.
inline double narrow_cycles(const KernelCosts& costs, const KernelTable& kernels, int64_t m, const TileShape& tile,
                            int64_t panels, int64_t runs, int64_t k) {
  constexpr int kVectors = 2;
  const int rows = kernels.max_mr(kVectors * kernels.lanes);
  const double instruction = costs.tile(rows, 2 * kVectors).step.front() / (rows * kVectors);
  const double step = std::max(tile.mr * tile.narrow, tile.mr + tile.narrow) * instruction;
  const double sums = 3 * kernels.lanes * instruction;
  const auto tiles = static_cast<double>(ceil_div(m, tile.mr) * panels);
  return tiles * (static_cast<double>(runs * ceil_div(k, kernels.lanes)) * step + sums) +
         static_cast<double>(panels) * costs.call;
}

// Calls f(tile, split) for each register tile of n columns that is narrower than a vector, and each split of the threads.
template <class F>
void for_each_narrow_tile_and_split(const KernelTable& kernels, int64_t m, int64_t n, int threads, const F& f) {
  if (n > KernelTable::kMaxNarrowColumns) return;
  const int nr = static_cast<int>(n);
  for (auto mr = static_cast<int>(std::min<int64_t>(m, KernelTable::kMaxNarrowRows)); mr >= 1; --mr) {
    if (!kernels.narrow_tiles[mr][nr]) continue;
    mr = static_cast<int>(ceil_div(m, ceil_div(m, mr)));
    for_each_thread_split(threads, [&](const ThreadSplit& split) { f(TileShape{mr, 0, nr}, split); });
  }
}

// Calls f(tile, split) for each register tile of `first` to `last` vectors, each split of the threads, and each number
// of tiles that m rows can be divided into.
template <class F>
void for_each_tile_and_split(const KernelTable& kernels, int64_t m, int64_t first, int64_t last, int threads,
                             const F& f) {
  const auto even = [m](int mr) { return static_cast<int>(ceil_div(m, ceil_div(m, mr))); };
  for (int vectors = static_cast<int>(first); vectors <= last; ++vectors) {
    const auto most = static_cast<int>(std::min<int64_t>(kernels.max_mr(vectors * kernels.lanes), m));
    for (int mr = most; mr >= 1; --mr) {
      mr = even(mr);
      for_each_thread_split(threads, [&](const ThreadSplit& split) { f(TileShape{mr, vectors}, split); });
    }
  }
}

}  // namespace loopwright
