// Default schedules of dense layers: the register tile and the split over threads by a small cost model, the blocks by the
// sizes of the caches.
#include <algorithm>
#include <array>
#include <limits>

#include "core/split.h"
#include "gemm/tile_model.h"
#include "gemm/words.h"
#include "loopwright/dense.h"
#include "loopwright/machine.h"
#include "microkernels/kernel_table.h"
#include "strassen.h"

namespace loopwright {
namespace {

struct Split {
  int mr = 1, vectors = 1, threads_m = 1;
};

// Up to two widths of panels in floats, or 0; any is possible if both are 0. Without memory of the heap, because Strassen's
// algorithm chooses schedules in each run.
using Widths = std::array<int, 2>;
constexpr Widths kAnyWidth{0, 0};

// Returns the best tile and split for k words.
Split best_split(Isa isa, const KernelTable& kernels, int64_t m, int64_t n, int64_t k, int threads,
                 const Widths& widths) {
  const TileCosts costs = tile_costs(isa);
  const int64_t columns = ceil_div(n, kernels.lanes);  // in vectors
  Split best;
  double best_cycles = std::numeric_limits<double>::infinity();
  const auto consider = [&](int nv, int most_rows, int across_m) {
    const int64_t tiles = ceil_div(m, most_rows), panels = ceil_div(columns, nv);
    const auto busiest = static_cast<double>(ceil_div(tiles, across_m) * ceil_div(panels, threads / across_m));
    const double rows = static_cast<double>(m) / static_cast<double>(tiles);
    const bool half = kernels.half_tiles[1][nv] && ceil_div(n, kernels.lanes / 2) < 2 * columns;
    const double width = (static_cast<double>(columns) - (half ? 0.5 : 0.0)) / static_cast<double>(panels);
    // Every thread loads its rows of A and its columns of B from far away.
    const auto far = static_cast<double>(ceil_div(m, across_m) + ceil_div(n, threads / across_m)) * sizeof(float);
    const double cycles = busiest * step_cycles(costs, rows, width, static_cast<double>(k)) + far / kFarBytesPerCycle;
    if (cycles < best_cycles) {
      best_cycles = cycles;
      best = {static_cast<int>(std::min<int64_t>(most_rows, m)), nv, across_m};
    }
  };
  for (const int nr : widths) {
    const int vectors = nr / kernels.lanes;
    if (vectors > 0) for_each_tile_and_split(kernels, costs, vectors, vectors, threads, consider);
  }
  if (widths == kAnyWidth)
    for_each_tile_and_split(kernels, costs, 1, std::min<int64_t>(KernelTable::kMaxVectors, columns), threads, consider);
  return best;
}

DenseSchedule direct_schedule(Isa isa, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads,
                              const Widths& widths) {
  const KernelTable& kernels = kernel_table(isa, dtype);
  DenseSchedule s;
  const int64_t words = to_words(k, dtype);
  const int64_t l2 = cache_bytes()[1];
  // From memory, a single stream of entire cache lines is fastest with AVX-512: 31 GB/s, compared with 27 GB/s for rows of
  // 128 floats (Zen 4, one thread).
  const bool streams = m == 1 && n * words * kWordBytes > l2 && kernels.lanes * kWordBytes == 64;
  const Widths stream{kernels.lanes, 0};
  const Split split = best_split(isa, kernels, m, n, words, threads, widths == kAnyWidth && streams ? stream : widths);
  s.mr = split.mr;
  s.nr = split.vectors * kernels.lanes;
  s.threads_m = split.threads_m;
  s.nc = std::max<int64_t>(n, s.nr);
  s.mc = m;
  if (m <= s.mr) {  // B is read once
    s.kc = k;
    s.order = DenseSchedule::Order::kNInner;
    if (isa == Isa::kAvx512) {
      s.prefetch = 4096;
    } else if (isa == Isa::kAvx2) {
      // The hardware prefetcher alone is faster than with prefetch instructions, and fastest with a second stream, the next
      // panel (Zen 3, weights in memory, one thread: 12, 15 and 18 GB/s).
      s.nc = s.nr;
      s.prefetch_next = true;
    }
    return s;
  }
  if (isa == Isa::kAvx2) {
    // The small tiles of AVX2 read B slowly enough for L2 (11 bytes per cycle at 6×16). So a block of B stays in L2 while the
    // next one is prefetched, A passes once per block, and entire rows of a block are stored one after the other. This is 3 %
    // faster than the other order in networks, and up to 20 % for a single layer. Splitting k would cost more than a strip of
    // A that exceeds L1.
    constexpr int64_t kLongestSum = 4096;
    s.kc = ceil_div(k, ceil_div(k, kLongestSum));
    const int64_t fitting = l2 / 4 / (s.kc * kWordBytes) / s.nr * s.nr;
    s.nc = std::min(s.nc, std::max<int64_t>(fitting, s.nr));
    // A single panel stays while all rows pass in one series.
    s.order = n <= s.nr ? DenseSchedule::Order::kMInner : DenseSchedule::Order::kNInner;
    s.prefetch_next = s.nc < n && s.kc == k;
    return s;
  }
  // A panel of B stays in L2 while the row tiles of a block of A pass, and needs no prefetch into L1. Complete sums justify a
  // larger panel, and a block of A that stays in L2 only in part: partial sums cost 2 %. Partial sums of a bfloat16 output
  // need separate memory, which longer blocks of k avoid.
  const int64_t panel_bytes = dtype == Dtype::kFloat32 ? l2 / 2 : l2 / 5;
  const int64_t panel_words = std::max<int64_t>(panel_bytes / (s.nr * kWordBytes), 64);
  const int64_t kc = ceil_div(words, ceil_div(words, panel_words));
  s.kc = std::min(k, kc * elements_per_word(dtype));
  // If B stays in L2 from block to block, the output of a block should stay there from panel to panel.
  const bool small = n * words * kWordBytes <= l2 / 2;
  const int64_t row_bytes = (small ? n + kc : kc) * kWordBytes, room = small || m * row_bytes > l2 ? l2 / 2 : l2;
  s.mc = std::min(m, std::max<int64_t>(room / row_bytes, s.mr));
  s.order = DenseSchedule::Order::kMInner;
  s.prefetch_next = true;
  return s;
}

DenseSchedule schedule_of_widths(Isa isa, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads,
                                 bool fast_algorithms, const Widths& widths) {
  if (isa == Isa::kReference) return {};
  DenseSchedule s = direct_schedule(isa, dtype, m, n, k, threads, widths);
  if (!fast_algorithms || isa != Isa::kAvx512) return s;  // with AVX2 some layers gain 5 % and others lose as much
  // Smaller layers gain nothing on Zen 4. With fewer rows, loading the weights of seven products takes too long. With shorter
  // sums, the sums of quarters take too long. The fewer rows, the longer the sums must be. As many threads as possible share
  // rows, because threads that share columns each compute the sums of the quarters of the input.
  struct Least {
    int64_t rows, columns, k;
  };
  constexpr Least kLeast[] = {{64, 128, 256}, {48, 192, 512}};
  const auto gains = [&](const Least& least, int threads_m) {
    return m / threads_m >= least.rows && n / (threads / threads_m) >= least.columns && k >= least.k;
  };
  for (int threads_m = threads; threads_m >= 1; --threads_m) {
    if (threads % threads_m != 0 || !Strassen::applies(isa, dtype, n, k, threads / threads_m)) continue;
    if (std::none_of(std::begin(kLeast), std::end(kLeast), [&](const Least& l) { return gains(l, threads_m); }))
      continue;
    s.algorithm = DenseSchedule::Algorithm::kStrassen;
    s.threads_m = threads_m;
    break;
  }
  return s;
}

}  // namespace

DenseSchedule default_dense_schedule(Isa isa, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads,
                                     bool fast_algorithms, int packed_nr) {
  return schedule_of_widths(isa, dtype, m, n, k, threads, fast_algorithms, {packed_nr, 0});
}

int default_dense_width(Isa isa, Dtype dtype, int64_t n, int64_t k, int threads) {
  constexpr int64_t kRows = 256;  // neither few nor many
  return default_dense_schedule(isa, dtype, kRows, n, k, threads).nr;
}

// Panels of the usual width serve all numbers of rows but a few, for which the weights are packed again when such a layer is
// first made. On Zen 5 with AVX-512, one and two threads and the layers of MiniLM (384x384, 1536x384, 384x1536), the usual 64
// columns take 0.9 to 1.02 of the time of the width that is best for the rows, except for 2 to 4 rows (1.02 to 1.12; 96
// columns are best), 7 and 8 rows (1.1 to 1.4; one tile of 8x48) and at times 13 to 16 rows (1.1; two such tiles). One row
// streams panels of 64 columns as fast as those of 16 that it would have alone: 0.9 of the time from L3, 0.98 from memory.
// AVX2 streams 384x384 from 48 columns 1.2 times as fast as from 16.
DenseSchedule DenseWeights::schedule(int64_t m, int threads, bool fast_algorithms) const {
  const Dtype dtype = weight_.dtype;
  const auto width_for = [&](int64_t rows) { return default_dense_schedule(isa_, dtype, rows, n_, k_, 1).nr; };
  Widths widths{default_dense_width(isa_, dtype, n_, k_, 1), 0};
  const int64_t one = isa_ == Isa::kAvx512 ? 0 : 1;
  const int64_t rows = m == 1 ? one : m <= 4 ? 4 : m <= 32 ? 8 : 0;  // those of the second width
  if (rows > 0) widths[1] = width_for(rows);
  return schedule_of_widths(isa_, dtype, m, n_, k_, threads, fast_algorithms, widths);
}

}  // namespace loopwright
