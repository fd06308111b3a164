// Default schedules of dense layers: the register tile and the split over threads by the costs of the machine model, the
// blocks by the sizes of the caches.
#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <vector>

#include "core/split.h"
#include "gemm/tile_model.h"
#include "gemm/words.h"
#include "loopwright/dense.h"
#include "microkernels/kernel_table.h"
#include "strassen.h"

namespace loopwright {
namespace {

// Up to two widths of panels in floats, or 0; any is possible if both are 0. Without memory of the heap, because Strassen's
// algorithm chooses schedules in each run.
using Widths = std::array<int, 2>;
constexpr Widths kAnyWidth{0, 0};

// A product of m × k and k × n words on some threads.
struct Product {
  const MachineModel& machine;
  const KernelCosts& costs;
  const KernelTable& kernels;
  int64_t m, n, k;
  int64_t x_stride;  // words from row to row of x
  int threads;
  int at_once;  // products of other parts that other threads compute at the same time, with this one

  double bytes(int64_t rows, int64_t columns) const { return static_cast<double>(rows * columns * kWordBytes); }
  // Bytes per cycle of each thread while `used` threads per product load from a level.
  double bandwidth(Level level, int used) const { return machine.bandwidth_per_thread(level, used * at_once); }
  // Cycles in which each of them loads this many bytes, from the first level that holds them.
  double load(double bytes, int used) const { return bytes / bandwidth(machine.level_of(bytes), used); }
};

struct Choice {
  TileShape tile{1, 1};
  ThreadSplit threads;
  double cycles = std::numeric_limits<double>::infinity();
};

// Whether the rows of a tile stay in L1 for the steps that share their cache lines. Rows whose distance is a multiple of a
// page, or of half of one, lie in the same sets. Half of the ways are left to B and C.
bool rows_conflict(const Product& p, int mr) {
  constexpr int64_t kPage = 4096;  // the bytes of a way, at most, because L1 is indexed by addresses within a page
  const int64_t shared = std::gcd(p.x_stride * kWordBytes, kPage), ways = p.machine.cache_bytes[0] / kPage;
  return mr * shared > kPage * ways / 2;
}

// Returns the cycles in which the first panel comes from memory, as far as its first tile does not hide them.
double first_panel(const Product& p, const TileShape& tile, int used, double compute, int64_t rows, int64_t panels) {
  const double one_tile = compute / static_cast<double>(ceil_div(rows, tile.mr) * panels);
  const double bytes = p.bytes(tile.nr(p.kernels.lanes), p.k);
  return std::max(0.0, bytes / p.bandwidth(Level::kMemory, used) - one_tile);
}

// Returns the cycles until the busiest thread has finished.
double cycles(const Product& p, const TileShape& tile, const ThreadSplit& threads) {
  const int nr = tile.nr(p.kernels.lanes), used = threads.count();
  const int64_t tiles = ceil_div(p.m, tile.mr), panels = tile.panels(p.n, p.kernels.lanes);
  const int64_t rows = std::min(p.m, ceil_div(tiles, threads.m) * tile.mr), columns = ceil_div(panels, threads.n);
  const double weights = p.bytes(ceil_div(p.n, threads.n), p.k);
  // In a network the weights are in memory. Threads that share columns each load them from L3, behind the first of them.
  const Level from = std::max(p.machine.level_of(weights), threads.m > 1 ? Level::kL3 : Level::kL1);
  // A thread with one row of tiles reads each weight once, from where all of them are. Otherwise a panel stays near while
  // the rows pass, and the next one is prefetched.
  const bool once = rows <= tile.mr;
  const auto compute = [&](Level level) {
    if (tile.narrow > 0) return narrow_cycles(p.costs, p.kernels, rows, tile, columns, 1, p.k);
    return product_cycles(p.costs, p.kernels, rows, p.n, tile, columns, static_cast<double>(p.k), level,
                          p.bandwidth(Level::kL2, used), kPanelDelayOfDense);
  };
  const double loads = weights / p.bandwidth(from, used),
               near = compute(std::min(p.machine.level_of(p.bytes(nr, p.k)), Level::kL2));
  // Panels that are prefetched while the rows pass come late if there are few rows. Nothing prefetches the first one, which
  // comes from memory in a network.
  const double products =
      once ? std::max(compute(from), overlapped(near, loads))
           : near + loads * std::min(1.0, loads / near) + first_panel(p, tile, used, near, rows, columns);
  // The cores have the rows of x that the same split of the layer before left with them. Threads that share rows load the
  // others from the caches of other cores.
  const double inputs = p.bytes(rows, p.k), remote = inputs * (1.0 - 1.0 / threads.n);
  return products + p.load(inputs, used) + remote / p.bandwidth(Level::kL3, used) + p.machine.fork_join_cycles(used);
}

Choice best_choice(const Product& p, const Widths& widths) {
  Choice best;
  const auto consider = [&](const TileShape& tile, const ThreadSplit& threads) {
    // A single row of tiles is not split for that: each weight would be read once more.
    if (tile.mr > 1 && p.m > tile.mr && rows_conflict(p, tile.mr)) return;
    if (const double found = cycles(p, tile, threads); found < best.cycles) best = {tile, threads, found};
  };
  for (const int nr : widths) {
    const int vectors = nr / p.kernels.lanes;
    if (vectors > 0) for_each_tile_and_split(p.kernels, p.m, vectors, vectors, p.threads, consider);
    if (vectors == 0 && nr > 0) for_each_narrow_tile_and_split(p.kernels, p.m, nr, p.threads, consider);
  }
  if (widths == kAnyWidth) {
    const int64_t columns = ceil_div(p.n, p.kernels.lanes);
    for_each_tile_and_split(p.kernels, p.m, 1, std::min<int64_t>(KernelTable::kMaxVectors, columns), p.threads,
                            consider);
    for_each_narrow_tile_and_split(p.kernels, p.m, p.n, p.threads, consider);
  }
  return best;
}

DenseSchedule direct_schedule(const Product& p, Dtype dtype, int64_t k, const Choice& choice) {
  DenseSchedule s;
  const int64_t l2 = p.machine.cache_bytes[1], m = p.m, n = p.n, words = p.k;
  s.mr = choice.tile.mr;
  s.nr = choice.tile.nr(p.kernels.lanes);
  s.threads = choice.threads;
  s.nc = std::max<int64_t>(n, s.nr);
  s.mc = m;
  if (m <= s.mr) {  // B is read once
    s.kc = k;
    s.order = DenseSchedule::Order::kNInner;
    if (p.machine.level_of(p.bytes(ceil_div(n, s.threads.n), words)) <= Level::kL2) return s;
    s.prefetch = p.costs.prefetch_bytes;
    if (s.prefetch == 0) {
      // The hardware prefetcher is fastest with a second stream, the next panel.
      s.nc = s.nr;
      s.prefetch_next = true;
    }
    return s;
  }
  // A panel of B stays in L2 while the row tiles of a block of A pass, and needs no prefetch into L1. Complete sums justify a
  // larger panel, and a block of A that stays in L2 only in part: partial sums cost 2 %. Partial sums of a bfloat16 output
  // need separate memory, which longer blocks of k avoid.
  const int64_t panel_bytes = dtype == Dtype::kFloat32 ? l2 / 2 : l2 / 5;
  const int64_t panel_words = std::max<int64_t>(panel_bytes / (s.nr * kWordBytes), 64);
  const int64_t kc = ceil_div(words, ceil_div(words, panel_words));
  s.kc = p.kernels.is_narrow(s.nr) || is_integer(dtype) ? k : std::min(k, kc * p.kernels.tile_k);
  // If B stays in L2 from block to block, the output of a block should stay there from panel to panel.
  const bool small = n * words * kWordBytes <= l2 / 2;
  const int64_t row_bytes = (small ? n + kc : kc) * kWordBytes, room = small || m * row_bytes > l2 ? l2 / 2 : l2;
  s.mc = std::min(m, std::max<int64_t>(room / row_bytes, s.mr));
  s.order = DenseSchedule::Order::kMInner;
  s.prefetch_next = true;
  return s;
}

// Returns the cycles in which each thread loads `bytes` bytes of weights, as far as products do not hide them.
double unhidden(const Product& p, double bytes, Level level, double compute, int used) {
  const double loads = bytes / p.bandwidth(level, used);
  const double share = std::min(1.0, loads / compute);
  return loads * share * share;
}

// Returns the cycles of Strassen's algorithm: of seven products of half the sizes and of their sums. Each thread has
// separate rows and columns.
double strassen_cycles(const Product& p, const ThreadSplit& threads) {
  const int used = threads.count();
  const int64_t rows = ceil_div(p.m, threads.m), columns = p.n / threads.n;
  const Product half{p.machine, p.costs, p.kernels, ceil_div(rows, 2), columns / 2, p.k / 2, p.x_stride, 1, used};
  const Choice product = best_choice(half, kAnyWidth);
  const double lanes = p.kernels.lanes, sum = p.costs.strassen_sum;
  const auto vectors = [&](int64_t m, int64_t n) { return static_cast<double>(m * n) / lanes; };
  // The sums of the quarters of the input: four loads and four stores. Over quarters of the output, two passes with two loads
  // and a store, and five products that start with a sum: eleven loads and stores, which leave L2 and so count twice.
  const double sums = sum * (vectors(half.m, half.k) + 22.0 / 8 * vectors(half.m, half.n));
  const double weights = 7.0 / 4 * p.bytes(p.n, p.k);
  const double compute = 7 * product.cycles + sums + p.load(p.bytes(rows, p.k), used);
  // All threads together load the weights from memory once, and those that share columns load them from L3.
  const double memory = unhidden(p, weights / used, Level::kMemory, compute, used);
  const double shared = threads.m > 1 ? unhidden(p, weights / threads.n, Level::kL3, compute, used) : 0.0;
  return compute + std::max(memory, shared) + p.machine.fork_join_cycles(used);
}

Product product(const Target& target, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads, int64_t x_stride) {
  const KernelTable& kernels = kernel_table(target.isa, dtype);
  return {*target.model,
          target.model->costs(target.isa, dtype),
          kernels,
          m,
          n,
          to_words(k, kernels.tile_k),
          to_words(x_stride > 0 ? x_stride : k, kernels.tile_k),
          threads,
          1};
}

DenseSchedule schedule_of_widths(const Target& target, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads,
                                 bool fast_algorithms, const Widths& widths, int64_t x_stride = 0) {
  if (target.isa == Isa::kReference) return {};
  const Product p = product(target, dtype, m, n, k, threads, x_stride);
  const Choice direct = best_choice(p, widths);
  DenseSchedule s = direct_schedule(p, dtype, k, direct);
  if (!fast_algorithms) return s;
  const int used = direct.threads.count();
  double best = direct.cycles + unhidden(p, p.bytes(n, p.k) / used, Level::kMemory, direct.cycles, used);
  for_each_thread_split(threads, [&](const ThreadSplit& split) {
    if (m / split.m < 2 || !Strassen::applies(target.isa, dtype, n, k, split.n)) return;
    // Threads that share columns each compute the sums of the same input, so splits of rows come first and win ties.
    constexpr double kTie = 0.95;
    const double limit = s.algorithm == DenseSchedule::Algorithm::kStrassen ? kTie * best : best;
    if (const double found = strassen_cycles(p, split); found < limit) {
      best = found;
      s.algorithm = DenseSchedule::Algorithm::kStrassen;
      s.threads = split;
    }
  });
  return s;
}

}  // namespace

DenseSchedule default_dense_schedule(const Target& target, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads,
                                     bool fast_algorithms, int packed_nr, int64_t x_stride) {
  return schedule_of_widths(target, dtype, m, n, k, threads, fast_algorithms, {packed_nr, 0}, x_stride);
}

int default_dense_width(const Target& target, Dtype dtype, int64_t n, int64_t k, int threads, int64_t x_stride) {
  if (target.isa == Isa::kReference) return 1;
  const KernelTable& kernels = kernel_table(target.isa, dtype);
  std::vector<int> widths;
  for (int64_t nr = kernels.lanes; nr <= ceil_div(n, kernels.lanes) * kernels.lanes; nr += kernels.lanes)
    if (nr <= KernelTable::kMaxVectors * kernels.lanes) widths.push_back(static_cast<int>(nr));
  if (n <= KernelTable::kMaxNarrowColumns && kernels.find(1, static_cast<int>(n)))
    widths.push_back(static_cast<int>(n));
  // The width with which a few numbers of rows together take the least time, relative to the best width of each.
  std::vector<double> slower(widths.size()), cycles(widths.size());
  for (const int64_t m : {1, 16, 256}) {
    const Product p = product(target, dtype, m, n, k, threads, x_stride);
    std::transform(widths.begin(), widths.end(), cycles.begin(),
                   [&](int nr) { return best_choice(p, {nr, 0}).cycles; });
    const double least = *std::min_element(cycles.begin(), cycles.end());
    for (size_t i = 0; i < widths.size(); ++i) slower[i] += cycles[i] / least;
  }
  return widths[static_cast<size_t>(std::min_element(slower.begin(), slower.end()) - slower.begin())];
}

// Panels of the usual width serve all numbers of rows but a few, for which the weights are packed again when such a layer is
// first made. On Zen 5 with AVX-512, one and two threads and the layers of MiniLM (384x384, 1536x384, 384x1536), the usual 64
// columns take 0.9 to 1.02 of the time of the width that is best for the rows, except for 2 to 4 rows (1.02 to 1.12; 96
// columns are best), 7 and 8 rows (1.1 to 1.4; one tile of 8x48) and at times 13 to 16 rows (1.1; two such tiles). One row
// streams panels of 64 columns as fast as those of 16 that it would have alone: 0.9 of the time from L3, 0.98 from memory.
// AVX2 streams 384x384 from 48 columns 1.2 times as fast as from 16.
DenseSchedule DenseWeights::schedule(int64_t m, int threads, bool fast_algorithms) const {
  const Dtype dtype = weight_.dtype;
  const auto width_for = [&](int64_t rows) { return default_dense_schedule(target_, dtype, rows, n_, k_, 1).nr; };
  if (width_ == 0) width_ = default_dense_width(target_, dtype, n_, k_, 1);
  Widths widths{width_, 0};
  const int64_t one = target_.isa == Isa::kAvx512 ? 0 : 1;
  const int64_t rows = m == 1 ? one : m <= 4 ? 4 : m <= 32 ? 8 : 0;  // those of the second width
  if (rows > 0) widths[1] = width_for(rows);
  return schedule_of_widths(target_, dtype, m, n_, k_, threads, fast_algorithms, widths);
}

}  // namespace loopwright
