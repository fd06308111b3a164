#include "loopwright/dense.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "loopwright/epilogue.h"
#include "loopwright/reference.h"
#include "loopwright/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

constexpr int64_t kUnknownRows = 256;  // what weights are packed for before the first call: neither few nor many

void check(const DenseSchedule& s, Isa isa, int threads) {
  if (!f32_kernels(isa).find(s.mr, s.nr))
    throw std::invalid_argument("schedule: no " + std::to_string(s.mr) + "x" + std::to_string(s.nr) +
                                " register tile on " + name(isa));
  if (s.mc < 1 || s.kc < 1 || s.nc < 1 || s.prefetch < 0)
    throw std::invalid_argument("schedule: mc, kc and nc must be at least 1, prefetch at least 0");
  if (s.threads_m < 1 || threads % s.threads_m != 0)
    throw std::invalid_argument("schedule: threads_m must divide threads (" + std::to_string(threads) + "), got " +
                                std::to_string(s.threads_m));
}

}  // namespace

Dense::Dense(const float* weight, int64_t weight_stride, int64_t n, int64_t k, const float* bias, Activation activation,
             Isa isa, int threads, std::optional<DenseSchedule> schedule)
    : n_(n), k_(k), activation_(activation), isa_(isa), threads_(threads), fixed_(schedule) {
  const int lanes = f32_kernels(isa).lanes;
  if (isa != Isa::kReference) {
    if (fixed_) check(*fixed_, isa, threads);
    nr_ = fixed_ ? fixed_->nr : default_dense_schedule(isa, kUnknownRows, n, k, threads).nr;
  }
  if (bias) {
    bias_ = make_buffer(ceil_div(n, lanes) * lanes);
    std::memcpy(bias_.get(), bias, static_cast<size_t>(n) * sizeof(float));
  }
  pack(weight, weight_stride);
}

void Dense::pack(const float* weight, int64_t weight_stride) {
  if (isa_ == Isa::kReference) {
    weight_ = make_buffer(n_ * k_);
    for (int64_t j = 0; j < n_; ++j)
      std::memcpy(weight_.get() + j * k_, weight + j * weight_stride, static_cast<size_t>(k_) * sizeof(float));
    return;
  }
  const int lanes = f32_kernels(isa_).lanes;
  weight_ = make_buffer(packed_floats(n_, k_, lanes));
  panels_ = split_panels(n_, k_, nr_, lanes);
  const auto count = static_cast<int64_t>(panels_.size());
  parallel(threads_, [&](int thread) {
    const int64_t last = split_begin(count, threads_, thread + 1);
    for (int64_t i = split_begin(count, threads_, thread); i < last; ++i)
      pack_panel(panels_[i], weight, weight_stride, k_, weight_.get() + panels_[i].offset);
  });
}

DenseSchedule Dense::schedule(int64_t m) const {
  return fixed_ ? *fixed_ : default_dense_schedule(isa_, m, n_, k_, threads_, nr_);
}

void Dense::run(const float* x, int64_t x_stride, int64_t m, Matrix out, Matrix residual) const {
  if (isa_ == Isa::kReference) return run_reference(x, x_stride, m, out, residual);
  const DenseSchedule s = schedule(m);
  const int64_t across_m = s.threads_m, across_n = threads_ / s.threads_m;
  const int64_t block_floats = s.pack_a ? std::min(m, s.mc) * spread_stride(std::min(k_, s.kc)) : 0;
  float* blocks =
      s.pack_a ? scratch(block_floats * threads_) : nullptr;  // here, because the pool's threads must not throw
  const int64_t row_tiles = ceil_div(m, s.mr), panels = static_cast<int64_t>(panels_.size());
  parallel(threads_, [&](int thread) {
    const int64_t i = thread / across_n, j = thread % across_n;
    const Rectangle part{std::min(m, split_begin(row_tiles, across_m, i) * s.mr),
                         std::min(m, split_begin(row_tiles, across_m, i + 1) * s.mr), split_begin(panels, across_n, j),
                         split_begin(panels, across_n, j + 1)};
    if (part.row_begin < part.row_end)
      run_rectangle(part, s, x, x_stride, out, residual, blocks + thread * block_floats);
  });
}

void Dense::run_rectangle(const Rectangle& part, const DenseSchedule& s, const float* x, int64_t x_stride, Matrix out,
                          Matrix residual, float* block) const {
  const F32Kernels& kernels = f32_kernels(isa_);
  const Epilogue epilogue(activation_, kernels);
  const int64_t rows = part.row_end - part.row_begin, panels = part.panel_end - part.panel_begin;
  const int64_t n_blocks = ceil_div(panels, std::max<int64_t>(1, s.nc / s.nr));
  const int64_t k_blocks = ceil_div(k_, s.kc), m_blocks = ceil_div(rows, s.mc);

  for (int64_t nb = 0; nb < n_blocks; ++nb) {
    const int64_t panel_begin = part.panel_begin + split_begin(panels, n_blocks, nb);
    const int64_t panel_end = part.panel_begin + split_begin(panels, n_blocks, nb + 1);
    for (int64_t kb = 0; kb < k_blocks; ++kb) {
      const int64_t k_begin = split_begin(k_, k_blocks, kb), kc = split_begin(k_, k_blocks, kb + 1) - k_begin;
      const bool first = kb == 0, last = kb + 1 == k_blocks;
      for (int64_t mb = 0; mb < m_blocks; ++mb) {
        const int64_t row_begin = part.row_begin + split_begin(rows, m_blocks, mb);
        const int64_t mc = part.row_begin + split_begin(rows, m_blocks, mb + 1) - row_begin;
        const float* a = x + row_begin * x_stride + k_begin;
        int64_t a_stride = x_stride;
        if (s.pack_a) {
          a_stride = spread_stride(kc);
          for (int64_t i = 0; i < mc; ++i)
            std::memcpy(block + i * a_stride, a + i * x_stride, static_cast<size_t>(kc) * sizeof(float));
          a = block;
        }
        const EvenSplit tiles(mc, s.mr);
        const auto height = [&](int64_t tile) { return static_cast<int>(tiles.size(tile)); };
        BrgemmArgs args;
        args.batch = 1;
        args.k = kc;
        args.a_stride = a_stride;
        args.c_stride = out.stride;
        args.accumulate = !first;
        args.residual_stride = residual.stride;
        args.lo = last ? epilogue.lo : -Epilogue::kInfinity;
        args.hi = last ? epilogue.hi : Epilogue::kInfinity;
        args.prefetch = s.prefetch / static_cast<int64_t>(sizeof(float));
        const auto packed = [&](const Panel& panel) { return weight_.get() + panel.offset + k_begin * panel.nr; };
        const auto run_tile = [&](int64_t row, int mr, const Panel& panel, const float* next) {
          const float* a_tile = a + row * a_stride;
          const float* b_tile = packed(panel);
          args.a = &a_tile;
          args.b = &b_tile;
          args.c = out.data + (row_begin + row) * out.stride + panel.column;
          args.n = panel.n;
          // Bias and residual join the first partial sum, not the last: the residual may lie where partial sums will.
          args.bias = bias_ ? bias_.get() + panel.column : nullptr;
          args.residual = residual.data ? residual.data + (row_begin + row) * residual.stride + panel.column : nullptr;
          args.next = next;
          kernels.tiles[mr][panel.vectors](args);
          if (last && epilogue.activate) epilogue.activate(args.c, args.c_stride, mr, panel.n);
        };
        if (s.order == DenseSchedule::Order::kNInner) {
          for (int64_t tile = 0, row = 0; tile < tiles.count; row += height(tile++))
            for (int64_t p = panel_begin; p < panel_end; ++p) run_tile(row, height(tile), panels_[p], nullptr);
          continue;
        }
        // While the row tiles share one panel, they bring the next one to L2: a cache line a step of k, so that as many
        // tiles as a panel has lines a row see to all of it.
        for (int64_t p = panel_begin; p < panel_end; ++p) {
          const bool ask = s.prefetch_next && p + 1 < panel_end;
          for (int64_t tile = 0, row = 0; tile < tiles.count; row += height(tile++)) {
            const bool missing = ask && tile * kCacheLine < panels_[p + 1].nr;
            const float* next = missing ? packed(panels_[p + 1]) + tile * kc * kCacheLine : nullptr;
            run_tile(row, height(tile), panels_[p], next);
          }
        }
      }
    }
  }
}

void Dense::run_reference(const float* x, int64_t x_stride, int64_t m, Matrix out, Matrix residual) const {
  parallel(threads_, [&](int thread) {
    const int64_t end = split_begin(m, threads_, thread + 1);
    for (int64_t i = split_begin(m, threads_, thread); i < end; ++i)
      for (int64_t j = 0; j < n_; ++j) {
        const float* row = x + i * x_stride;
        const float* column = weight_.get() + j * k_;
        float sum = bias_ ? bias_[j] : 0.0f;
        if (residual.data) sum += residual.data[i * residual.stride + j];
        for (int64_t p = 0; p < k_; ++p) sum += row[p] * column[p];
        out.data[i * out.stride + j] = reference_activation(activation_, sum);
      }
  });
}

}  // namespace loopwright
