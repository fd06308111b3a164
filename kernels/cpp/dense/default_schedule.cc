// The schedule of a dense layer without a search: the register tile and the split over threads by a small cost model,
// the blocks from the caches.
#include <algorithm>
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

// The best tile and split for k words; `vectors` other than 0 is what B is already packed for.
Split best_split(Isa isa, const KernelTable& kernels, int64_t m, int64_t n, int64_t k, int threads, int vectors) {
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
    // Every thread brings its rows of A and its columns of B from afar.
    const auto far = static_cast<double>(ceil_div(m, across_m) + ceil_div(n, threads / across_m)) * sizeof(float);
    const double cycles = busiest * step_cycles(costs, rows, width, static_cast<double>(k)) + far / kFarBytesPerCycle;
    if (cycles < best_cycles) {
      best_cycles = cycles;
      best = {static_cast<int>(std::min<int64_t>(most_rows, m)), nv, across_m};
    }
  };
  const int first = vectors ? vectors : 1, last = vectors ? vectors : KernelTable::kMaxVectors;
  for (int nv = first; nv <= std::min<int64_t>(last, std::max<int64_t>(columns, first)); ++nv) {
    const int max_mr = kernels.max_mr(nv * kernels.lanes);
    if (max_mr == 0) continue;
    for (int across_m = 1; across_m <= threads; ++across_m)
      if (threads % across_m == 0)
        for (const int rows : tile_heights(costs, nv, max_mr)) consider(nv, rows, across_m);
  }
  return best;
}

DenseSchedule direct_schedule(Isa isa, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads, int nr) {
  const KernelTable& kernels = kernel_table(isa, dtype);
  DenseSchedule s;
  const int64_t words = to_words(k, dtype);
  const int64_t l2 = cache_bytes()[1];
  // From memory, a single stream of whole cache lines comes fastest with AVX-512: 31 GB/s where rows of 128 floats reach 27
  // (Zen 4, one thread).
  const bool streams = m == 1 && n * words * kWordBytes > l2 && kernels.lanes * kWordBytes == 64;
  const int vectors = nr == 0 && streams ? 1 : nr / kernels.lanes;
  const Split split = best_split(isa, kernels, m, n, words, threads, vectors);
  s.mr = split.mr;
  s.nr = split.vectors * kernels.lanes;
  s.threads_m = split.threads_m;
  s.nc = std::max<int64_t>(n, s.nr);
  s.mc = m;
  if (m <= s.mr) {  // B streams past once
    s.kc = k;
    s.order = DenseSchedule::Order::kNInner;
    if (kernels.lanes > 8) {
      s.prefetch = 4096;
    } else {
      // There the hardware's prefetcher is faster alone, and brings two streams faster than one: the next panel too
      // (Zen 3, weights in memory, one thread: 12, 15 and 18 GB/s).
      s.nc = s.nr;
      s.prefetch_next = true;
    }
    return s;
  }
  if (kernels.lanes <= 8) {
    // Small registers make small tiles, which read B slowly enough for L2 to keep up (11 bytes a cycle at 6×16). So a
    // block of B stays there while the next one comes, A passes once for each, and whole rows of a block are written
    // one after the other: in networks 3 % faster than the other order, alone up to 20 %. Splitting k would cost more
    // than a strip of A that leaves L1.
    constexpr int64_t kLongestSum = 4096;
    s.kc = ceil_div(k, ceil_div(k, kLongestSum));
    const int64_t fitting = l2 / 4 / (s.kc * kWordBytes) / s.nr * s.nr;
    s.nc = std::min(s.nc, std::max<int64_t>(fitting, s.nr));
    // A panel alone stays while the rows go past it in one series.
    s.order = n <= s.nr ? DenseSchedule::Order::kMInner : DenseSchedule::Order::kNInner;
    s.prefetch_next = s.nc < n && s.kc == k;
    return s;
  }
  // A panel of B stays in L2 while the row tiles of A's block go past it, and L1 need not ask for it. Whole sums are worth
  // a larger panel, and a block of A that stays in L2 only in part: partial ones cost 2 %.
  // Partial sums of a bfloat16 output lie beside it, which longer blocks of k save.
  const int64_t panel_bytes = dtype == Dtype::kFloat32 ? l2 / 2 : l2 / 5;
  const int64_t panel_words = std::max<int64_t>(panel_bytes / (s.nr * kWordBytes), 64);
  const int64_t kc = ceil_div(words, ceil_div(words, panel_words));
  s.kc = std::min(k, kc * elements_per_word(dtype));
  // Where B stays in L2 from block to block, so does what a block writes, from panel to panel.
  const bool small = n * words * kWordBytes <= l2 / 2;
  const int64_t row_bytes = (small ? n + kc : kc) * kWordBytes, room = small || m * row_bytes > l2 ? l2 / 2 : l2;
  s.mc = std::min(m, std::max<int64_t>(room / row_bytes, s.mr));
  s.order = DenseSchedule::Order::kMInner;
  s.prefetch_next = true;
  return s;
}

}  // namespace

DenseSchedule default_dense_schedule(Isa isa, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads,
                                     bool fast_algorithms, int packed_nr) {
  if (isa == Isa::kReference) return {};
  DenseSchedule s = direct_schedule(isa, dtype, m, n, k, threads, packed_nr);
  if (!fast_algorithms || isa != Isa::kAvx512) return s;  // with AVX2 some gain 5 %, and others lose as much
  // Smaller ones gain nothing on Zen 4: with fewer rows the weights of seven products take too long to come, with shorter
  // sums too much time goes into sums of quarters; the fewer rows, the longer they must be. Rows are shared as far as they
  // go, since threads that share columns each add up the input's quarters.
  struct Least {
    int64_t rows, columns, k;
  };
  constexpr Least kLeast[] = {{64, 128, 256}, {48, 192, 512}};
  const auto gains = [&](const Least& least, int threads_m) {
    return m / threads_m >= least.rows && n / (threads / threads_m) >= least.columns && k >= least.k;
  };
  for (int threads_m = threads; threads_m >= 1; --threads_m) {
    if (!Strassen::applies(isa, dtype, n, k, threads, threads_m)) continue;
    if (std::none_of(std::begin(kLeast), std::end(kLeast), [&](const Least& l) { return gains(l, threads_m); }))
      continue;
    s.algorithm = DenseSchedule::Algorithm::kStrassen;
    s.threads_m = threads_m;
    break;
  }
  return s;
}

}  // namespace loopwright
