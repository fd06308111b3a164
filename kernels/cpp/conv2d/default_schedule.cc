// Default schedules of convolutions. Every algorithm, register tile and split over threads is ranked by the cycles of its
// busiest thread, and by the bytes of weights that it loads from memory, where the weights of a network are.
#include <algorithm>
#include <limits>
#include <stdexcept>

#include "convolution.h"
#include "core/split.h"
#include "gemm/tile_model.h"

namespace loopwright {
namespace {

using Algorithm = Conv2dSchedule::Algorithm;
constexpr int64_t kFloat = sizeof(float);

struct Candidate {
  Conv2dSchedule schedule;
  double cycles = std::numeric_limits<double>::infinity();
};

// Returns the number of Winograd's tiles of m×m outputs.
int64_t image_tiles(const Conv2dGeometry& g, const Images& images, int64_t m) {
  return images.n * winograd_tiles(g.output_h(images.h), g.dilation_h, m) *
         winograd_tiles(g.output_w(images.w), g.dilation_w, m);
}

// A layer with one split over threads and one register tile.
struct Setting {
  const MachineModel& machine;
  const KernelCosts& costs;
  const KernelTable& kernels;
  const Conv2dGeometry& g;
  const Images& images;
  TileShape tile;
  ThreadSplit threads;

  int nr() const { return tile.nr(kernels.lanes); }
  int64_t oh() const { return g.output_h(images.h); }
  int64_t ow() const { return g.output_w(images.w); }
  int64_t group_panels() const { return tile.panels(g.group_o(), kernels.lanes); }
  // Panels of the busiest thread.
  int64_t panels() const { return ceil_div(g.groups * group_panels(), threads.n); }
  // Cycles to start and join the threads.
  double region() const { return machine.fork_join_cycles(threads.count()); }
  double bandwidth(Level level) const { return machine.bandwidth_per_thread(level, threads.count()); }

  // Cycles of the busiest thread for m rows of its columns and sums over k words.
  double product(int64_t m, int64_t k, Level level) const {
    // All panels of as many groups as it has, and the first panels of another one.
    const int64_t groups = panels() / group_panels(), rest = panels() % group_panels();
    const auto of_group = [&](int64_t count) {
      return product_cycles(costs, kernels, m, g.group_o(), tile, count, static_cast<double>(k), level,
                            bandwidth(Level::kL2), kPanelDelayOfWindows);
    };
    return static_cast<double>(groups) * of_group(group_panels()) + (rest > 0 ? of_group(rest) : 0.0);
  }
  // Cycles in which each of the threads loads `bytes` bytes from a level.
  double load(double bytes, Level level) const { return bytes / bandwidth(level); }
  // Cycles in which all of them together load `bytes` bytes from memory once.
  double load_shared(double bytes) const { return load(bytes / threads.count(), Level::kMemory); }
};

Conv2dSchedule schedule(const Setting& at, Algorithm algorithm, int64_t rows, int64_t kc) {
  Conv2dSchedule s;
  s.algorithm = algorithm;
  s.mr = at.tile.mr;
  s.nr = at.nr();
  s.rows = rows;
  s.kc = kc;
  s.prefetch_next = true;
  s.threads = at.threads;
  return s;
}

Candidate direct(const Setting& at) {
  const Conv2dGeometry& g = at.g;
  const int64_t l2 = at.machine.cache_bytes[1], k = g.reduction();
  // The weights of a panel stay in L2 while the pixels of some rows pass. The input of these rows stays there too.
  const bool narrow = at.kernels.is_narrow(at.nr());
  const int64_t kc = narrow || is_integer(at.costs.dtype)
                         ? k
                         : ceil_div(k, ceil_div(k, std::max<int64_t>(l2 / 5 / (at.nr() * kFloat), 64)));
  const int64_t columns = at.images.w + g.pad_left + g.pad_right, row_bytes = columns * g.c * kFloat;
  const int64_t shared = g.span_h() - g.stride_h;  // rows that the windows of a pass share with those of the next one
  const int64_t fitting = (l2 / 3 / row_bytes - shared) / g.stride_h;
  // Large windows do not fit. Passes then copy at most as many rows twice as they compute.
  const int64_t least = std::clamp<int64_t>(shared / g.stride_h, std::min<int64_t>(4, at.oh()), at.oh());
  const int64_t rows = std::clamp<int64_t>(fitting, least, at.oh());

  Candidate candidate{schedule(at, Algorithm::kDirect, rows, kc)};
  const int64_t lines = ceil_div(at.images.n * at.oh(), at.threads.m), blocks = ceil_div(k, kc);
  const Level level = std::min(at.machine.level_of(static_cast<double>(kc * at.nr() * kFloat)), Level::kL2);
  const int64_t runs = runs_are_rows(g) ? g.kh : g.kh * g.kw;
  const double compute = static_cast<double>(lines) *
                         (narrow ? narrow_cycles(at.costs, at.kernels, at.ow(), at.tile, at.panels(), runs, k / runs)
                                 : static_cast<double>(blocks) * at.product(at.ow(), ceil_div(k, blocks), level));
  // Each pass copies the rows under its windows, so neighbors in the image copy those that they share twice.
  const int64_t copied = lines * g.stride_h + ceil_div(lines, rows) * shared;
  const double copy = at.load(static_cast<double>(copied * row_bytes), Level::kL3);
  const double weights = at.load_shared(static_cast<double>(g.o * k * kFloat));
  candidate.cycles = overlapped(compute, weights) + copy + at.region();
  return candidate;
}

// One of Winograd's algorithms: outputs and inputs per side of a tile.
struct Winograd {
  Algorithm algorithm;
  int m, size;
};
constexpr Winograd kWinograds[] = {
    {Algorithm::kWinograd2, 2, 4}, {Algorithm::kWinograd3, 3, 6}, {Algorithm::kWinograd4, 4, 6}};

const WinogradCosts& transform_costs(const KernelCosts& costs, Algorithm algorithm) {
  return costs.winograd[static_cast<size_t>(algorithm) - static_cast<size_t>(Algorithm::kWinograd2)];
}

Candidate winograd(const Setting& at, const Winograd& w) {
  const Conv2dGeometry& g = at.g;
  const int64_t l2 = at.machine.cache_bytes[1], places = w.size * w.size;
  const int64_t channels = g.stride_h * g.stride_w * g.c;
  const int64_t all_tiles = image_tiles(g, at.images, w.m);
  const int64_t tiles = ceil_div(all_tiles, at.threads.m);
  const double weight_bytes = static_cast<double>(places * channels * g.o * kFloat);
  // Weights that stay in L2 leave half of it to the transformed tiles. Other weights should be read as few times as possible,
  // even if the tiles then exceed L2 a little.
  const bool near = weight_bytes <= static_cast<double>(l2);
  const int64_t block_bytes = near ? l2 / 2 : l2 * 5 / 4;
  const int64_t tile_bytes = places * (channels + at.nr()) * kFloat;
  const int64_t fitting = std::max<int64_t>(block_bytes / tile_bytes, std::min<int64_t>(at.tile.mr, tiles));
  const EvenSplit blocks(tiles, fitting);
  const int64_t block = blocks.size(0), passes = ceil_div(block, at.tile.mr);

  // The sum is one block; for integers, kc is all of it.
  Candidate candidate{schedule(at, w.algorithm, block, is_integer(at.costs.dtype) ? g.reduction() : channels)};
  candidate.schedule.mr = static_cast<int>(std::min<int64_t>(at.tile.mr, block));
  candidate.schedule.prefetch = near ? 0 : at.costs.prefetch_bytes;
  // Each pass over the tiles reads the weights again, while other weights come from memory.
  const Level level = near ? Level::kL2 : Level::kL3;
  const double products = static_cast<double>(blocks.count * places) * at.product(block, channels, level);
  const WinogradCosts& transform = transform_costs(at.costs, w.algorithm);
  const auto vectors = [&](int64_t floats) { return static_cast<double>(ceil_div(floats, at.kernels.lanes)); };
  // Transforms are of float32, which is rounded afterwards.
  const int64_t per_word = at.costs.dtype == Dtype::kBfloat16 ? at.kernels.tile_k : 1;
  const double panels = static_cast<double>(at.panels()), width = vectors(g.o) / static_cast<double>(at.group_panels());
  // Threads that split the channels transform the tiles together first, and then load what the others have stored.
  const bool together = at.threads.n > 1;
  const auto of_tiles = static_cast<double>(tiles);
  const double transformed = together ? static_cast<double>(ceil_div(all_tiles, at.threads.count())) : of_tiles;
  const double transforms =
      transformed * static_cast<double>(g.stride_h) * transform.input.cycles(vectors(g.stride_w * g.c * per_word)) +
      of_tiles * panels * (2 * at.costs.call + transform.output.cycles(width));
  const double others = 1.0 - 1.0 / at.threads.n;
  const double exchange =
      together ? at.load(of_tiles * static_cast<double>(places * channels * kFloat) * others, Level::kL3) : 0.0;
  const double regions = together ? 2 * static_cast<double>(blocks.count) : 1.0;
  // Each tile of a panel prefetches one cache line of the next weights per step. Lines without a tile come late.
  const double late = std::max(0.0, 1.0 - static_cast<double>(passes) / at.tile.vectors);
  // Threads that share weights load them one after the other, the later ones from L3 or from the L2 of another core.
  const double shared = at.threads.m > 1 ? at.load(weight_bytes / at.threads.n, Level::kL3) : 0.0;
  const double weights = at.load_shared(weight_bytes) + shared;
  candidate.cycles = overlapped(products + transforms, weights) + late * weights + exchange + regions * at.region();
  return candidate;
}

// Returns the candidate of the fewest cycles.
Candidate best_candidate(const Target& target, Dtype dtype, const Conv2dGeometry& elements, const Images& images,
                         int threads, bool winograd_allowed) {
  const KernelTable& kernels = kernel_table(target.isa, dtype);
  const KernelCosts& costs = target.model->costs(target.isa, dtype);
  const Conv2dGeometry g = in_words(elements, kernels.tile_k);
  Candidate best;
  const auto consider = [&](const Candidate& candidate) {
    if (candidate.cycles < best.cycles) best = candidate;
  };
  const int64_t widest = std::min<int64_t>(KernelTable::kMaxVectors, ceil_div(g.group_o(), kernels.lanes));
  const auto setting = [&](const TileShape& tile, const ThreadSplit& split) {
    return Setting{*target.model, costs, kernels, g, images, tile, split};
  };
  const auto consider_direct = [&](const TileShape& tile, const ThreadSplit& split) {
    consider(direct(setting(tile, split)));
  };
  for_each_tile_and_split(kernels, g.output_w(images.w), 1, widest, threads, consider_direct);
  for_each_narrow_tile_and_split(kernels, g.output_w(images.w), g.group_o(), threads, consider_direct);
  for (const Winograd& w : kWinograds) {
    const int64_t tiles = image_tiles(g, images, w.m);
    if ((winograd_allowed || is_integer(dtype)) && applies(w.algorithm, elements, target.isa, dtype))
      for_each_tile_and_split(kernels, tiles, 1, widest, threads, [&](const TileShape& tile, const ThreadSplit& split) {
        consider(winograd(setting(tile, split), w));
      });
  }
  best.schedule.kc = best.schedule.kc * elements.reduction() / g.reduction();
  return best;
}

}  // namespace

Conv2dSchedule default_convolution_schedule(const Target& target, Dtype dtype, const Conv2dGeometry& g,
                                            const Images& images, int threads, bool winograd_allowed) {
  if (target.isa == Isa::kReference) return {};
  return best_candidate(target, dtype, g, images, threads, winograd_allowed).schedule;
}

double default_convolution_cycles(const Target& target, Dtype dtype, const Conv2dGeometry& g, const Images& images,
                                  int threads, bool fast_algorithms) {
  if (target.isa == Isa::kReference || g.pointwise() || is_depthwise(g, dtype))
    throw std::invalid_argument("the cycles of pointwise and depthwise convolutions are not predicted");
  return best_candidate(target, dtype, g, images, threads, fast_algorithms).cycles;
}

Conv2d::Schedule default_conv2d_schedule(const Target& target, Dtype dtype, const Conv2dGeometry& g,
                                         const Images& images, int threads, bool fast_algorithms) {
  if (g.pointwise())
    return default_dense_schedule(target, dtype, images.n * images.h * images.w, g.o, g.c, threads, fast_algorithms);
  if (is_depthwise(g, dtype)) return default_depthwise_schedule(target, g, images, threads);
  return default_convolution_schedule(target, dtype, g, images, threads, fast_algorithms);
}

}  // namespace loopwright
