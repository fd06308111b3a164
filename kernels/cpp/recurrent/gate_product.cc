#include "recurrent/gate_product.h"

#include <algorithm>
#include <cmath>

#include "core/split.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// Adds the panels of `count` blocks of `gates` vectors from `first` on.
void add_panels(std::vector<Panel>& panels, int64_t first, int64_t count, int gates, int lanes, int64_t k) {
  const EvenSplit split(count, std::max(1, GateProduct::kVectors / gates));
  int64_t column = first * gates * lanes;
  for (int64_t i = 0; i < split.count; ++i) {
    const int vectors = static_cast<int>(split.size(i)) * gates, width = vectors * lanes;
    panels.push_back({column * k, column, vectors, width, width});
    column += width;
  }
}

}  // namespace

GateProduct::GateProduct(const float* weight, const float* bias, int gates, int64_t units, int64_t k, Isa isa,
                         int parts)
    : isa_(isa), k_(k) {
  const int lanes = kernel_table(isa).lanes;
  const int64_t blocks = ceil_div(units, lanes), of_block = static_cast<int64_t>(gates) * lanes;
  for (int part = 0; part < parts; ++part) {
    part_begins_.push_back(static_cast<int64_t>(panels_.size()));
    const int64_t first = split_begin(blocks, parts, part), count = split_begin(blocks, parts, part + 1) - first;
    if (count > 0) add_panels(panels_, first, count, gates, lanes, k);
  }
  part_begins_.push_back(static_cast<int64_t>(panels_.size()));
  for (size_t i = panels_.size() - 1; i-- > 0;)
    if (panels_[i + 1].nr == panels_[i].nr) panels_[i].alike = panels_[i + 1].alike + 1;
  for (const Panel& panel : panels_) widest_ = std::max(widest_, panel.nr);

  weight_ = make_weight_buffer(std::max<int64_t>(1, blocks * of_block * k));
  bias_ = make_weight_buffer(blocks * of_block);
  for (const Panel& panel : panels_)
    for (int64_t column = panel.column; column < panel.column + panel.nr; ++column) {
      const int64_t unit = column / of_block * lanes + column % lanes, gate = column % of_block / lanes;
      if (unit >= units) continue;
      const int64_t row = gate * units + unit;
      if (bias) bias_[column] = bias[row];
      float* to = weight_.get() + panel.offset + column - panel.column;
      for (int64_t p = 0; p < k; ++p) {
        to[p * panel.nr] = weight[row * k + p];
        finite_ = finite_ && std::isfinite(weight[row * k + p]);
      }
    }
}

GateProduct::Range GateProduct::range(int part) const {
  if (part < 0) return {0, part_begins_.back()};
  return {part_begins_[static_cast<size_t>(part)], part_begins_[static_cast<size_t>(part) + 1]};
}

bool GateProduct::run_on_zeros(int64_t rows, int part, Rows<float> out) const {
  const auto [begin, end] = range(part);
  if (!finite_) return false;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t p = begin; p < end; ++p) {
      const Panel& panel = panels_[static_cast<size_t>(p)];
      std::copy_n(bias_.get() + panel.column, panel.nr, out.data + row * out.stride + panel.column);
    }
  return true;
}

void GateProduct::run(Rows<const float> a, int64_t rows, int part, Rows<float> out, bool backwards) const {
  const auto [begin, end] = range(part);
  if (rows == 0 || begin == end) return;
  if (isa_ == Isa::kReference) return run_reference(a, rows, begin, end, out);
  const KernelTable& kernels = kernel_table(isa_);
  BrgemmArgs args{};
  args.batch = 1;
  args.k = k_;
  args.a_stride = a.stride;
  args.c_stride = out.stride;
  const auto run_tiles = [&](const Panel& panel, int64_t row, int mr) {
    const float* a_tile = a.data + row * a.stride;
    const float* b_tile = weight_.get() + panel.offset;
    args.a = &a_tile;
    args.b = &b_tile;
    args.c = out.data + row * out.stride + panel.column;
    args.epilogue.bias = bias_.get() + panel.column;
    args.n = panel.n;
    kernels.tiles[mr][panel.vectors](args);
  };
  if (rows <= kernels.max_mr(widest_)) {
    for (int64_t p = begin; p < end; p += args.count) {
      const Panel& panel = panels_[static_cast<size_t>(p)];
      args.count = std::min(panel.alike, end - p);
      const Panel& first = backwards ? panels_[static_cast<size_t>(p + args.count - 1)] : panel;
      const int64_t step = backwards ? -1 : 1;
      args.b_step = step * k_ * panel.nr;
      args.c_step = args.epilogue.column_step = step * panel.nr;
      run_tiles(first, 0, static_cast<int>(rows));
    }
    return;
  }
  for (int64_t i = 0; i < end - begin; ++i) {
    const Panel& panel = panels_[static_cast<size_t>(backwards ? end - 1 - i : begin + i)];
    const EvenSplit tiles(rows, kernels.max_mr(panel.nr));
    for (int64_t tile = 0, row = 0; tile < tiles.count; tile += args.count) {
      const int mr = static_cast<int>(tiles.size(tile));
      args.count = tiles.alike(tile);
      args.a_step = mr * a.stride;
      args.c_step = mr * out.stride;
      run_tiles(panel, row, mr);
      row += args.count * mr;
    }
  }
}

void GateProduct::run_reference(Rows<const float> a, int64_t rows, int64_t begin, int64_t end, Rows<float> out) const {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t p = begin; p < end; ++p) {
      const Panel& panel = panels_[static_cast<size_t>(p)];
      for (int64_t j = 0; j < panel.nr; ++j) {
        const float* column = weight_.get() + panel.offset + j;
        float sum = bias_[panel.column + j];
        for (int64_t q = 0; q < k_; ++q) sum += a.data[i * a.stride + q] * column[q * panel.nr];
        out.data[i * out.stride + panel.column + j] = sum;
      }
    }
}

}  // namespace loopwright
