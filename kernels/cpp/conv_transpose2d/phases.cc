#include "conv_transpose2d/phases.h"

#include <algorithm>
#include <limits>

#include "core/split.h"
#include "gemm/tile_model.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

using Taps = std::vector<PhaseTap>;

// The taps along both axes. A pixel of a row adds taps at `offsets`, whichever of the merged phases they belong to.
struct PhaseTaps {
  Taps rows;
  std::vector<Taps> columns;  // of each merged phase
  std::vector<int64_t> offsets;

  PhaseTaps(const ConvTranspose2dGeometry& g, const Phase& phase)
      : rows(phase_taps(phase.row, g.kh, g.stride_h, g.pad_top, g.dilation_h)) {
    for (int64_t r = 0; r < phase.merged; ++r) {
      columns.push_back(phase_taps(phase.column + r, g.kw, g.stride_w, g.pad_left, g.dilation_w));
      for (const PhaseTap& tap : columns.back()) offsets.push_back(tap.offset);
    }
    std::sort(offsets.begin(), offsets.end());
    offsets.erase(std::unique(offsets.begin(), offsets.end()), offsets.end());
  }

  int64_t count() const { return static_cast<int64_t>(rows.size() * offsets.size()); }
};

int64_t columns_of(const ConvTranspose2dGeometry& g, const Phase& phase) { return phase.merged * g.o; }

void add_runs(const ConvTranspose2dGeometry& g, const PhaseTaps& taps, Phase& phase) {
  const auto& offsets = taps.offsets;
  phase.first_column = offsets.empty() ? 0 : offsets.front();
  phase.last_column = offsets.empty() ? 0 : offsets.back();
  if (offsets.empty()) return;
  const auto count = static_cast<int64_t>(offsets.size());
  const bool adjacent = g.groups == 1 && offsets.back() - offsets.front() == count - 1;
  for (const PhaseTap& row : taps.rows) {
    if (adjacent) {
      phase.runs.push_back({row.offset, offsets.front(), count * g.c});
    } else {
      for (const int64_t column : offsets) phase.runs.push_back({row.offset, column, g.group_c()});
    }
  }
}

// Estimated cycles of one output row of each phase, per input pixel, for the choice between merged and separate phases: taps
// times half vectors.
int64_t steps(const ConvTranspose2dGeometry& g, const Phase& phase, int lanes) {
  const int64_t half = std::max(1, lanes / 2);
  return std::max<int64_t>(1, PhaseTaps(g, phase).count()) * g.groups * ceil_div(columns_of(g, phase) / g.groups, half);
}

std::vector<Phase> phases_of_row(const ConvTranspose2dGeometry& g, int64_t row, int lanes) {
  std::vector<Phase> separate;
  int64_t separate_steps = 0;
  for (int64_t column = 0; column < g.stride_w; ++column) {
    separate.push_back({row, column, 1, 0, 0, {}, {}});
    separate_steps += steps(g, separate.back(), lanes);
  }
  const bool divisible = g.output_w(1) % g.stride_w == 0;  // and so for all widths
  const Phase merged{row, 0, g.stride_w, 0, 0, {}, {}};
  if (g.stride_w == 1 || g.groups > 1 || !divisible || steps(g, merged, lanes) > separate_steps) return separate;
  return {merged};
}

// Cycles of one row of `width` pixels of all phases, with panels of `vectors` vectors.
double cycles_of(const std::vector<Phase>& phases, const ConvTranspose2dGeometry& g, const Target& target,
                 const KernelTable& kernels, int64_t width, int vectors) {
  const KernelCosts& costs = target.model->costs(target.isa, Dtype::kFloat32);
  const int64_t most = std::min<int64_t>(kernels.max_mr(vectors * kernels.lanes), width);
  const TileShape tile{static_cast<int>(ceil_div(width, ceil_div(width, most))), vectors};
  double sum = 0.0;
  for (const Phase& phase : phases) {
    const int64_t n = columns_of(g, phase) / g.groups,
                  k = std::max<int64_t>(1, PhaseTaps(g, phase).count() * g.group_c());
    const int64_t panels = ceil_div(ceil_div(n, kernels.lanes), vectors);
    const Level level =
        std::min(target.model->level_of(static_cast<double>(k * vectors * kernels.lanes) * sizeof(float)), Level::kL2);
    sum +=
        static_cast<double>(g.groups) * product_cycles(costs, kernels, width, n, tile, panels, static_cast<double>(k),
                                                       level, target.model->bandwidth_per_thread(Level::kL2, 1));
  }
  return sum;
}

}  // namespace

std::vector<PhaseTap> phase_taps(int64_t phase, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  std::vector<PhaseTap> taps;
  for (int64_t i = kernel - 1; i >= 0; --i) {
    const int64_t distance = phase + padding - i * dilation;
    if (distance % stride == 0) taps.push_back({distance / stride, i});
  }
  return taps;
}

Phases divide_into_phases(const ConvTranspose2dGeometry& g, const Target& target, int64_t width) {
  const KernelTable& kernels = kernel_table(target.isa);
  Phases all{{}, 0, kernels.lanes};
  for (int64_t row = 0; row < g.stride_h; ++row)
    for (Phase& phase : phases_of_row(g, row, kernels.lanes)) {
      add_runs(g, PhaseTaps(g, phase), phase);
      all.phases.push_back(std::move(phase));
    }
  int64_t columns = 1;
  for (const Phase& phase : all.phases) columns = std::max(columns, columns_of(g, phase) / g.groups);
  const auto widest = static_cast<int>(std::min<int64_t>(KernelTable::kMaxVectors, ceil_div(columns, kernels.lanes)));
  double best = std::numeric_limits<double>::infinity();
  for (int vectors = 1; vectors <= widest; ++vectors) {
    if (kernels.max_mr(vectors * kernels.lanes) == 0) continue;
    const double cycles = cycles_of(all.phases, g, target, kernels, width, vectors);
    if (cycles < best) {
      best = cycles;
      all.nr = vectors * kernels.lanes;
    }
  }
  for (Phase& phase : all.phases) {
    const int64_t k = PhaseTaps(g, phase).count() * g.group_c(), n = columns_of(g, phase) / g.groups;
    for (int64_t group = 0; group < g.groups; ++group) {
      for (Panel panel : split_panels(n, k, all.nr, kernels.lanes)) {
        panel.offset += all.packed_floats;
        panel.column += group * g.group_o();
        phase.panels.push_back(panel);
      }
      all.packed_floats += packed_floats(n, k, kernels.lanes);
    }
  }
  return all;
}

void pack_phases(const Phases& phases, const ConvTranspose2dGeometry& g, const float* weight, float* to) {
  const int64_t taps_per_pair = g.kh * g.kw, group_c = g.group_c(), group_o = g.group_o();
  for (const Phase& phase : phases.phases) {
    const PhaseTaps taps(g, phase);
    const int64_t k = taps.count() * group_c, per_row = static_cast<int64_t>(taps.offsets.size()) * group_c;
    if (k == 0) continue;
    std::vector<float> matrix(static_cast<size_t>(columns_of(g, phase) * k), 0.0f);
    for (int64_t merged = 0; merged < phase.merged; ++merged)
      for (int64_t o = 0; o < g.o; ++o)
        for (size_t row = 0; row < taps.rows.size(); ++row)
          for (const PhaseTap& column : taps.columns[static_cast<size_t>(merged)]) {
            const auto place = std::lower_bound(taps.offsets.begin(), taps.offsets.end(), column.offset);
            float* sum = matrix.data() + (merged * g.o + o) * k + static_cast<int64_t>(row) * per_row +
                         (place - taps.offsets.begin()) * group_c;
            const float* from = weight + (o / group_o * group_c * group_o + o % group_o) * taps_per_pair +
                                taps.rows[row].index * g.kw + column.index;
            for (int64_t c = 0; c < group_c; ++c) sum[c] = from[c * group_o * taps_per_pair];
          }
    pack_panels(phase.panels, matrix.data(), k, k, to, 1);
  }
}

}  // namespace loopwright
