// Default schedules of convolutions. Every algorithm, register tile and split over threads is ranked by the cycles of its
// busiest thread, and by the bytes of weights that it loads from memory, where the weights of a network are.
#include <algorithm>
#include <limits>

#include "convolution.h"
#include "core/split.h"
#include "gemm/tile_model.h"
#include "loopwright/machine.h"

namespace loopwright {
namespace {

using Algorithm = Conv2dSchedule::Algorithm;
constexpr int64_t kFloat = sizeof(float);

struct Candidate {
  Conv2dSchedule schedule;
  double cycles = std::numeric_limits<double>::infinity();
};

// A layer with one split over threads and one register tile.
struct Setting {
  Isa isa;
  const KernelTable& kernels;
  TileCosts costs;
  const Conv2dGeometry& g;
  const Images& images;
  int threads, threads_m;
  int vectors, max_mr;

  int nr() const { return vectors * kernels.lanes; }
  int64_t oh() const { return g.output_h(images.h); }
  int64_t ow() const { return g.output_w(images.w); }
  int64_t group_vectors() const { return ceil_div(g.group_o(), kernels.lanes); }
  int64_t group_panels() const { return ceil_div(group_vectors(), vectors); }
  // Panels of the busiest thread.
  int64_t panels() const { return ceil_div(g.groups * group_panels(), threads / threads_m); }
  // Mean width of a panel, in vectors.
  double width() const { return static_cast<double>(group_vectors()) / static_cast<double>(group_panels()); }
};

// Cycles of two activities that run in parallel and delay each other a little.
double overlapped(double a, double b) { return std::max(a, b) + 0.2 * std::min(a, b); }

Conv2dSchedule schedule(const Setting& at, Algorithm algorithm, int64_t tile_rows, int64_t rows, int64_t kc) {
  Conv2dSchedule s;
  s.algorithm = algorithm;
  s.mr = static_cast<int>(std::min<int64_t>(at.max_mr, tile_rows));
  s.nr = at.nr();
  s.rows = rows;
  s.kc = kc;
  s.prefetch_next = true;
  s.threads_m = at.threads_m;
  return s;
}

Candidate direct(const Setting& at) {
  const Conv2dGeometry& g = at.g;
  const int64_t l2 = cache_bytes()[1], k = g.reduction();
  // The weights of a panel stay in L2 while the pixels of some rows pass. The input of these rows stays there too.
  const int64_t kc = ceil_div(k, ceil_div(k, std::max<int64_t>(l2 / 5 / (at.nr() * kFloat), 64)));
  const int64_t columns = at.images.w + g.pad_left + g.pad_right, row_bytes = columns * g.c * kFloat;
  const int64_t fitting = (l2 / 3 / row_bytes - (g.span_h() - g.stride_h)) / g.stride_h;
  const int64_t rows = std::clamp<int64_t>(fitting, std::min<int64_t>(4, at.oh()), at.oh());

  Candidate candidate{schedule(at, Algorithm::kDirect, at.ow(), rows, kc)};
  const int64_t lines = ceil_div(at.images.n * at.oh(), at.threads_m), tiles = ceil_div(at.ow(), at.max_mr);
  const double tile_rows = static_cast<double>(at.ow()) / static_cast<double>(tiles);
  const double compute = static_cast<double>(lines * tiles * at.panels() * k) *
                         step_cycles(at.costs, tile_rows, at.width(), static_cast<double>(std::min(kc, k)));
  const double copy = static_cast<double>(lines * g.stride_h * row_bytes) / kFarBytesPerCycle;
  const double weights = static_cast<double>(g.o * k * kFloat) / kMemoryBytesPerCycle;
  candidate.cycles = overlapped(compute, weights) + copy;
  return candidate;
}

// One of Winograd's algorithms: outputs and inputs per side of a tile, and the cycles of the transforms of a tile per vector
// of channels (see microkernels/winograd_f32.h), doubled for moving the vectors between L1 and L2.
struct Winograd {
  Algorithm algorithm;
  int m, size;
  double input_cycles, output_cycles;
};
constexpr Winograd kWinograds[] = {{Algorithm::kWinograd2, 2, 4, 40, 30},
                                   {Algorithm::kWinograd3, 3, 6, 140, 110},
                                   {Algorithm::kWinograd4, 4, 6, 140, 120}};

Candidate winograd(const Setting& at, const Winograd& w) {
  const Conv2dGeometry& g = at.g;
  const int64_t l2 = cache_bytes()[1], places = w.size * w.size;
  const int64_t channels = g.stride_h * g.stride_w * g.c;
  const int64_t tiles = ceil_div(at.images.n * ceil_div(at.oh(), w.m) * ceil_div(at.ow(), w.m), at.threads_m);
  const double weight_bytes = static_cast<double>(places * channels * g.o * kFloat);
  // Weights that stay in L2 leave half of it to the transformed tiles. Other weights should be read as few times as possible,
  // even if the tiles then exceed L2 a little.
  const bool near = weight_bytes <= static_cast<double>(l2);
  const int64_t block_bytes = near ? l2 / 2 : l2 * 5 / 4;
  const int64_t tile_bytes = places * (channels + at.nr()) * kFloat;
  const int64_t fitting = std::max<int64_t>(block_bytes / tile_bytes, std::min<int64_t>(at.max_mr, tiles));
  const EvenSplit blocks(tiles, fitting);
  const int64_t block = blocks.size(0), passes = ceil_div(block, at.max_mr);

  Candidate candidate{schedule(at, w.algorithm, block, block, channels)};
  // The small tiles of AVX2 read weights slowly enough for the hardware prefetcher, and each prefetch costs time: without
  // them, Zen 3 takes 4 % less. The same holds for short sums: a first layer takes a third less on Zen 4.
  candidate.schedule.prefetch = at.isa == Isa::kAvx512 && !near ? 4096 : 0;
  const double rows = static_cast<double>(block) / static_cast<double>(passes);
  // Each pass over the tiles reads the weights again, while other weights come from memory.
  TileCosts costs = at.costs;
  if (!near) costs.far_loads = 3.0;
  const double products = static_cast<double>(blocks.count * passes * at.panels() * places * channels) *
                          step_cycles(costs, rows, at.width(), static_cast<double>(channels));
  const double transforms =
      costs.halved * costs.transforms * static_cast<double>(tiles) *
      (static_cast<double>(g.stride_h * ceil_div(g.stride_w * g.c, at.kernels.lanes)) * w.input_cycles +
       static_cast<double>(at.panels()) * at.width() * w.output_cycles);
  // Each tile of a panel prefetches one cache line of the next weights per step. Lines without a tile come late.
  const double late = std::max(0.0, 1.0 - static_cast<double>(passes) / at.width());
  // Threads that share weights load them one after the other, the later ones from L3 or from the L2 of another core.
  const double shared = at.threads_m > 1 ? weight_bytes / kFarBytesPerCycle : 0.0;
  const double weights = weight_bytes / kMemoryBytesPerCycle + shared;
  candidate.cycles = overlapped(products + transforms, weights) + late * weights;
  return candidate;
}

}  // namespace

Conv2dSchedule default_convolution_schedule(Isa isa, Dtype dtype, const Conv2dGeometry& elements, const Images& images,
                                            int threads, bool winograd_allowed) {
  if (isa == Isa::kReference) return {};
  const KernelTable& kernels = kernel_table(isa, dtype);
  const TileCosts costs = tile_costs(isa);
  const Conv2dGeometry g = in_words(elements, dtype);
  Candidate best;
  const auto consider = [&](const Candidate& candidate) {
    if (candidate.cycles < best.cycles) best = candidate;
  };
  const int64_t widest = std::min<int64_t>(KernelTable::kMaxVectors, ceil_div(g.group_o(), kernels.lanes));
  for_each_tile_and_split(kernels, costs, 1, widest, threads, [&](int vectors, int mr, int threads_m) {
    const Setting at{isa, kernels, costs, g, images, threads, threads_m, vectors, mr};
    consider(direct(at));
    for (const Winograd& w : kWinograds)
      if (winograd_allowed && applies(w.algorithm, g, dtype)) consider(winograd(at, w));
  });
  best.schedule.kc = best.schedule.kc * elements.reduction() / g.reduction();
  return best.schedule;
}

Conv2d::Schedule default_conv2d_schedule(Isa isa, Dtype dtype, const Conv2dGeometry& g, const Images& images,
                                         int threads, bool fast_algorithms) {
  if (g.pointwise())
    return default_dense_schedule(isa, dtype, images.n * images.h * images.w, g.o, g.c, threads, fast_algorithms);
  if (is_depthwise(g, dtype)) return default_depthwise_schedule(isa, g, images, threads);
  return default_convolution_schedule(isa, dtype, g, images, threads, fast_algorithms);
}

}  // namespace loopwright
