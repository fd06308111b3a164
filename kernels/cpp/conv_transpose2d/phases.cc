#include "conv_transpose2d/phases.h"

#include <algorithm>
#include <limits>

#include "core/split.h"
#include "gemm/tile_model.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// Output q of a phase adds pixel q + offset of the image times tap `index` of the kernel.
struct PhaseTap {
  int64_t offset, index;
};
using Taps = std::vector<PhaseTap>;

// Returns the taps of a phase of one axis, by ascending offset.
Taps phase_taps(int64_t phase, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  Taps taps;
  for (int64_t i = kernel - 1; i >= 0; --i) {
    const int64_t distance = phase + padding - i * dilation;
    if (distance % stride == 0) taps.push_back({distance / stride, i});
  }
  return taps;
}

// The taps of merged phases along one axis. A pixel adds taps at `offsets`, whichever of the phases they belong to.
struct AxisTaps {
  std::vector<Taps> phases;
  std::vector<int64_t> offsets;

  AxisTaps(int64_t first, int64_t count, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
    for (int64_t r = first; r < first + count; ++r) {
      phases.push_back(phase_taps(r, kernel, stride, padding, dilation));
      for (const PhaseTap& tap : phases.back()) offsets.push_back(tap.offset);
    }
    std::sort(offsets.begin(), offsets.end());
    offsets.erase(std::unique(offsets.begin(), offsets.end()), offsets.end());
  }

  int64_t count() const { return static_cast<int64_t>(offsets.size()); }
  int64_t place(int64_t offset) const {
    return std::lower_bound(offsets.begin(), offsets.end(), offset) - offsets.begin();
  }
};

struct PhaseTaps {
  AxisTaps rows, columns;

  PhaseTaps(const ConvTranspose2dGeometry& g, const Phase& phase)
      : rows(phase.row, phase.merged_rows, g.kh, g.stride_h, g.pad_top, g.dilation_h),
        columns(phase.column, phase.merged_columns, g.kw, g.stride_w, g.pad_left, g.dilation_w) {}

  int64_t count() const { return rows.count() * columns.count(); }
};

int64_t columns_of(const ConvTranspose2dGeometry& g, const Phase& phase) { return phase.merged() * g.o; }

void add_runs(const ConvTranspose2dGeometry& g, const PhaseTaps& taps, Phase& phase) {
  const auto& offsets = taps.columns.offsets;
  phase.first_column = offsets.empty() ? 0 : offsets.front();
  phase.last_column = offsets.empty() ? 0 : offsets.back();
  if (offsets.empty()) return;
  const int64_t count = taps.columns.count();
  const bool adjacent = g.groups == 1 && offsets.back() - offsets.front() == count - 1;
  for (const int64_t row : taps.rows.offsets) {
    if (adjacent) {
      phase.runs.push_back({row, offsets.front(), count * g.c});
    } else {
      for (const int64_t column : offsets) phase.runs.push_back({row, column, g.group_c()});
    }
  }
}

Phase make_phase(int64_t row, int64_t column, int64_t rows, int64_t columns) {
  return {row, column, rows, columns, 0, 0, {}, {}};
}

// Estimated steps of phases per input pixel, for the choice of what is merged: taps times half vectors.
int64_t steps(const ConvTranspose2dGeometry& g, const std::vector<Phase>& phases, int lanes) {
  const int64_t half = std::max(1, lanes / 2);
  int64_t sum = 0;
  for (const Phase& phase : phases)
    sum +=
        std::max<int64_t>(1, PhaseTaps(g, phase).count()) * g.groups * ceil_div(columns_of(g, phase) / g.groups, half);
  return sum;
}

std::vector<Phase> phases_of_row(const ConvTranspose2dGeometry& g, int64_t row, int lanes) {
  std::vector<Phase> separate;
  for (int64_t column = 0; column < g.stride_w; ++column) separate.push_back(make_phase(row, column, 1, 1));
  const bool divisible = g.output_w(1) % g.stride_w == 0;  // and so for all widths
  if (g.stride_w == 1 || g.groups > 1 || !divisible) return separate;
  std::vector<Phase> merged{make_phase(row, 0, 1, g.stride_w)};
  return steps(g, merged, lanes) > steps(g, separate, lanes) ? separate : merged;
}

std::vector<Phase> merged_phases(const ConvTranspose2dGeometry& g, int lanes) {
  std::vector<Phase> rows;
  for (int64_t row = 0; row < g.stride_h; ++row)
    for (Phase& phase : phases_of_row(g, row, lanes)) rows.push_back(std::move(phase));
  std::vector<Phase> all{make_phase(0, 0, g.stride_h, g.stride_w)};
  if (g.stride_h == 1 || g.groups > 1 || columns_of(g, all.front()) > lanes) return rows;
  return steps(g, all, lanes) > steps(g, rows, lanes) ? rows : all;
}

// The rows of the panels of a phase.
PanelRows rows_of(const Phase& phase, int lanes) {
  return {static_cast<int64_t>(phase.runs.size()), phase.runs.empty() ? 0 : phase.runs.front().k, lanes};
}

// Cycles of one row of `width` pixels of all phases, with panels of at most nr columns.
double cycles_of(const std::vector<Phase>& phases, const ConvTranspose2dGeometry& g, const Target& target,
                 const KernelTable& kernels, int64_t width, int nr) {
  const KernelCosts& costs = target.model->costs(target.isa, Dtype::kFloat32);
  const int64_t most = std::min<int64_t>(kernels.max_mr(nr), width);
  const auto mr = static_cast<int>(ceil_div(width, ceil_div(width, most)));
  double sum = 0.0;
  for (const Phase& phase : phases) {
    const PanelRows rows = rows_of(phase, kernels.lanes);
    const int64_t n = columns_of(g, phase) / g.groups, k = std::max<int64_t>(1, rows.count());
    if (kernels.is_narrow(nr)) {
      sum += static_cast<double>(g.groups) *
             narrow_cycles(costs, kernels, width, {mr, 0, nr}, ceil_div(n, nr), rows.runs, rows.k);
      continue;
    }
    const TileShape tile{mr, nr / kernels.lanes};
    const Level level = std::min(target.model->level_of(static_cast<double>(k * nr) * sizeof(float)), Level::kL2);
    sum += static_cast<double>(g.groups) *
           product_cycles(costs, kernels, width, n, tile, tile.panels(n, kernels.lanes), static_cast<double>(k), level,
                          target.model->bandwidth_per_thread(Level::kL2, 1), kPanelDelayOfWindows);
  }
  return sum;
}

// Returns the widths of panels to choose from: that of the columns if they are fewer than a vector, and whole vectors.
std::vector<int> widths(int64_t columns, const KernelTable& kernels) {
  std::vector<int> widths;
  if (columns <= KernelTable::kMaxNarrowColumns) widths.push_back(static_cast<int>(columns));
  const int64_t vectors = std::min<int64_t>(KernelTable::kMaxVectors, ceil_div(columns, kernels.lanes));
  for (int64_t v = 1; v <= vectors; ++v) widths.push_back(static_cast<int>(v) * kernels.lanes);
  widths.erase(std::remove_if(widths.begin(), widths.end(), [&](int nr) { return kernels.max_mr(nr) == 0; }),
               widths.end());
  return widths;
}

}  // namespace

Phases divide_into_phases(const ConvTranspose2dGeometry& g, const Target& target, int64_t width) {
  const KernelTable& kernels = kernel_table(target.isa);
  Phases all;
  all.lanes = kernels.lanes;
  int nr = kernels.lanes;  // of the register tile
  for (Phase& phase : merged_phases(g, kernels.lanes)) {
    add_runs(g, PhaseTaps(g, phase), phase);
    all.phases.push_back(std::move(phase));
  }
  int64_t columns = 1;
  for (const Phase& phase : all.phases) columns = std::max(columns, columns_of(g, phase) / g.groups);
  double best = std::numeric_limits<double>::infinity();
  for (const int candidate : widths(columns, kernels)) {
    const double cycles = cycles_of(all.phases, g, target, kernels, width, candidate);
    if (cycles < best) {
      best = cycles;
      nr = candidate;
    }
  }
  for (Phase& phase : all.phases) {
    const PanelRows rows = rows_of(phase, kernels.lanes);
    const int64_t n = columns_of(g, phase) / g.groups;
    for (int64_t group = 0; group < g.groups; ++group) {
      for (Panel panel : split_panels(n, rows, nr)) {
        panel.offset += all.packed_floats;
        panel.column += group * g.group_o();
        phase.panels.push_back(panel);
      }
      all.packed_floats += rows.packed_floats(n, nr);
    }
  }
  return all;
}

void pack_phases(const Phases& phases, const ConvTranspose2dGeometry& g, const float* weight, float* to) {
  const int64_t taps_per_pair = g.kh * g.kw, group_c = g.group_c(), group_o = g.group_o();
  for (const Phase& phase : phases.phases) {
    const PhaseTaps taps(g, phase);
    const int64_t k = taps.count() * group_c;
    if (k == 0) continue;
    std::vector<float> matrix(static_cast<size_t>(columns_of(g, phase) * k), 0.0f);
    for (int64_t merged = 0; merged < phase.merged(); ++merged)
      for (int64_t o = 0; o < g.o; ++o)
        for (const PhaseTap& row : taps.rows.phases[static_cast<size_t>(merged / phase.merged_columns)])
          for (const PhaseTap& column : taps.columns.phases[static_cast<size_t>(merged % phase.merged_columns)]) {
            const int64_t tap = taps.rows.place(row.offset) * taps.columns.count() + taps.columns.place(column.offset);
            float* to_sum = matrix.data() + (merged * g.o + o) * k + tap * group_c;
            const float* from = weight + (o / group_o * group_c * group_o + o % group_o) * taps_per_pair +
                                row.index * g.kw + column.index;
            for (int64_t c = 0; c < group_c; ++c) to_sum[c] = from[c * group_o * taps_per_pair];
          }
    pack_panels(phase.panels, matrix.data(), k, rows_of(phase, phases.lanes), to, 1);
  }
}

}  // namespace loopwright
