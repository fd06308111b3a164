#include "packed_dense.h"

#include <algorithm>
#include <limits>

#include "core/shares.h"
#include "core/split.h"
#include "gemm/reference_output.h"
#include "gemm/reference_products.h"
#include "gemm/tile_output.h"
#include "gemm/words.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

// Returns the number of panels of a cache block of columns.
int64_t panels_per_block(const DenseSchedule& s) { return std::max<int64_t>(1, s.nc / s.nr); }

// Into how many chunks of rows and of panels a share is divided, which a thread without work may take over.
struct Pieces {
  int64_t rows, panels;
};

// Blocks of rows, or panels if there is one block: neither reads more than the whole share does. A packed block serves all
// panels, so it is not divided. The products of a chunk take tens of microseconds, more than claims and less than a time slice
// of the system.
Pieces pieces_of_share(const DenseSchedule& s, int64_t rows, int64_t panels, int64_t k) {
  constexpr int64_t kProducts = 2'000'000;
  if (rows > s.mc) return {ceil_div(rows, s.mc), 1};
  if (s.pack_a) return {1, 1};
  return {1, std::clamp<int64_t>(rows * panels * s.nr * k / kProducts, 1, panels)};
}

}  // namespace

PackedDense::PackedDense(std::shared_ptr<const DensePanels> panels, int threads,
                         const std::optional<DenseSchedule>& schedule)
    : panels_(std::move(panels)), threads_(threads), fixed_(schedule) {}

void PackedDense::prefetch_layer(const PackedDense& next) {
  const DensePanels& after = *next.panels_;
  if (!after.panels.empty())
    next_layer_ = {after.weight.get(),
                   after.panels.front().nr * to_words(after.k, kernel_table(after.target, after.dtype).tile_k)};
}

DenseSchedule PackedDense::schedule(int64_t m, int64_t x_stride) const {
  const DensePanels& p = *panels_;
  return fixed_ ? *fixed_ : default_dense_schedule(p.target, p.dtype, m, p.n, p.k, threads_, false, p.nr, x_stride);
}

void PackedDense::run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual,
                      const Matrix& second_residual) const {
  run(schedule(m, x.stride), x, m, out, residual, second_residual);
}

void PackedDense::run(const DenseSchedule& chosen, const Matrix& x, int64_t m, const Matrix& out,
                      const Matrix& residual, const Matrix& second_residual) const {
  const DensePanels& packed = *panels_;
  if (packed.target == Isa::kReference) return run_reference(x, m, out, residual, second_residual);
  const KernelTable& kernels = kernel_table(packed.target, packed.dtype);
  DenseSchedule s = chosen;
  const InputWords words(kernels, packed.constants.quantization, x, m, packed.k, s.threads.count());
  s.pack_a = s.pack_a || !words.in_place(x, packed.k);
  const int64_t k = to_words(packed.k, kernels.tile_k), kc = to_words(s.kc, kernels.tile_k);
  const int64_t across_m = s.threads.m, across_n = s.threads.n;
  const int64_t row_tiles = ceil_div(m, s.mr), panels = static_cast<int64_t>(packed.panels.size());

  const int64_t a_floats = s.pack_a ? std::min(m, s.mc) * spread_stride(std::min(k, kc)) : 0;
  // Partial sums are those of one register tile if the sum is one block of k, otherwise of a cache block of columns.
  const bool one_tile = k <= kc;
  const int64_t sums_rows = one_tile ? s.mr : ceil_div(row_tiles, across_m) * s.mr;
  const int64_t sums_stride = one_tile ? s.nr : std::min(panels_per_block(s), ceil_div(panels, across_n)) * s.nr;
  const int64_t sums_floats = out.dtype == Dtype::kFloat32 ? 0 : sums_rows * sums_stride;
  const SlotScratch floats(a_floats + sums_floats, s.threads.count());

  const TileOutput output(kernels, packed.constants.epilogue(words.quantization()), out, residual, second_residual);
  const Pieces pieces = s.threads.count() > 1 ? pieces_of_share(s, ceil_div(row_tiles, across_m) * s.mr,
                                                                ceil_div(panels, across_n), packed.k)
                                              : Pieces{1, 1};
  parallel_shares(s.threads, pieces.rows * pieces.panels, [&](int slot, const Share& share) {
    const int64_t row = share.piece / pieces.panels, panel = share.piece % pieces.panels;
    const Range of_tiles = Range{0, row_tiles}.part(across_m, share.i);
    const Range rows =
        Range{std::min(m, of_tiles.begin * s.mr), std::min(m, of_tiles.end * s.mr)}.part(pieces.rows, row);
    const Range own_panels = Range{0, panels}.part(across_n, share.j), here = own_panels.part(pieces.panels, panel);
    const Rectangle part{rows.begin, rows.end, here.begin, here.end, own_panels.end};
    float* own = floats.of(slot);
    if (part.row_begin < part.row_end) run_rectangle(part, s, x, words, output, {own, own + a_floats, sums_stride});
  });
}

void PackedDense::run_rectangle(const Rectangle& part, const DenseSchedule& s, const Matrix& x, const InputWords& words,
                                const TileOutput& output, const Scratch& scratch) const {
  const Panel* all = panels_->panels.data();
  const float* weight = panels_->weight.get();
  const int per_word = kernel_table(panels_->target, panels_->dtype).tile_k;
  const int64_t columns = panels_->k, k = to_words(columns, per_word);
  const int64_t rows = part.row_end - part.row_begin, panels = part.panel_end - part.panel_begin;
  const int64_t n_blocks = ceil_div(panels, panels_per_block(s));
  const int64_t k_blocks = ceil_div(k, to_words(s.kc, per_word)), m_blocks = ceil_div(rows, s.mc);

  for (int64_t nb = 0; nb < n_blocks; ++nb) {
    const int64_t panel_begin = part.panel_begin + split_begin(panels, n_blocks, nb);
    const int64_t panel_end = part.panel_begin + split_begin(panels, n_blocks, nb + 1);
    for (int64_t kb = 0; kb < k_blocks; ++kb) {
      const int64_t k_begin = split_begin(k, k_blocks, kb), kc = split_begin(k, k_blocks, kb + 1) - k_begin;
      for (int64_t mb = 0; mb < m_blocks; ++mb) {
        const int64_t row_begin = part.row_begin + split_begin(rows, m_blocks, mb);
        const int64_t mc = part.row_begin + split_begin(rows, m_blocks, mb + 1) - row_begin;
        const float* a = scratch.a;
        int64_t a_stride = spread_stride(kc);
        if (s.pack_a) {
          const int64_t first = k_begin * per_word, count = std::min(kc * per_word, columns - first);
          if (nb == 0 || k_blocks * m_blocks > 1)  // the first panels have packed the only block
            for (int64_t i = 0; i < mc; ++i)
              words.copy(x.address(row_begin + i, first), count, scratch.a + i * a_stride);
        } else {
          a = static_cast<const float*>(x.address(row_begin, k_begin * per_word));
          a_stride = x.stride / per_word;
        }
        const EvenSplit tiles(mc, s.mr);
        const auto height = [&](int64_t tile) { return static_cast<int>(tiles.size(tile)); };
        BrgemmArgs args;
        args.batch = 1;
        args.k = kc;
        args.a_stride = a_stride;
        args.prefetch = s.prefetch / kWordBytes;
        const TileOutput::Part of_sum{kb == 0, kb + 1 == k_blocks};
        const auto packed = [&](const Panel& panel) { return weight + panel.offset + k_begin * panel.nr; };
        const auto run_tiles = [&](int64_t row, int mr, const Panel& panel) {
          const float* a_tile = a + row * a_stride;
          const float* b_tile = packed(panel);
          args.a = &a_tile;
          args.b = &b_tile;
          const int64_t out_row = row_begin + row;
          float* sums = scratch.sums;
          if (k_blocks > 1)
            sums += (out_row - part.row_begin) * scratch.sums_stride + panel.column - all[panel_begin].column;
          output.run(args, out_row, mr, panel, of_sum, sums, scratch.sums_stride);
        };
        // Row tiles share panels of B and prefetch into L2 what follows: with m inner the next panel, with n inner the panels
        // of the next block, and at the end the first weights of the next layer.
        const bool n_inner = s.order == DenseSchedule::Order::kNInner;
        const int64_t step = n_inner ? panel_end - panel_begin : 1;
        const bool all_panels = mb + 1 == m_blocks && k_blocks == 1;
        const int64_t known = all_panels ? (n_inner ? part.panel_end : part.panel_last) : panel_end;
        const bool last_block = nb + 1 == n_blocks && kb + 1 == k_blocks && mb + 1 == m_blocks;
        // Sets up the prefetch of row tile `tile`, its share of what follows. Returns the number of tiles from it on that have
        // a share, or no limit if it has none.
        const auto prefetch_share = [&](int64_t tile, int64_t p) {
          args.next = nullptr;
          constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
          if (!s.prefetch_next) return kAny;
          Span after = !n_inner && last_block ? next_layer_ : Span{};
          if (p + step < known) after = {packed(all[p + step]), all[p + step].nr * kc};
          args.next_step = even_step(after.floats, tiles.count * kc);
          const int64_t each = kc * args.next_step, before = tile * each;
          if (before >= after.floats) return kAny;
          args.next = after.data + before;
          return ceil_div(after.floats - before, each);
        };
        if (n_inner) {
          for (int64_t tile = 0, row = 0; tile < tiles.count; row += height(tile++))
            for (int64_t p = panel_begin; p < panel_end; p += args.count) {
              const Panel& panel = all[p];
              args.count = std::min({output.most_in_series(args, of_sum), panel.alike, panel_end - p});
              prefetch_share(tile, p);
              if (args.next) {
                const Panel& after = all[p + step];
                args.count = std::min({args.count, after.alike, known - p - step});
                args.next_tile_step = k * after.nr;
              }
              args.b_step = k * panel.nr;
              run_tiles(row, height(tile), panel);
            }
        } else {
          args.b_step = 0;
          for (int64_t p = panel_begin; p < panel_end; ++p)
            for (int64_t tile = 0, row = 0; tile < tiles.count; tile += args.count) {
              const Panel& panel = all[p];
              const int mr = height(tile);
              args.count = std::min({output.most_in_series(args, of_sum), tiles.alike(tile), prefetch_share(tile, p)});
              args.a_step = mr * a_stride;
              args.next_tile_step = kc * args.next_step;
              run_tiles(row, mr, panel);
              row += args.count * mr;
            }
        }
      }
    }
  }
}

void PackedDense::run_reference(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual,
                                const Matrix& second_residual) const {
  const DensePanels& packed = *panels_;
  const ReferenceProducts products(packed.dtype, packed.constants.quantization, x, m, packed.k);
  const ReferenceOutput output(packed.constants.epilogue(products.quantization()), out, residual, second_residual);
  const int64_t stride = to_words(packed.k, kernel_table(packed.target, packed.dtype).tile_k);
  parallel(threads_, [&](int thread) {
    const int64_t end = split_begin(m, threads_, thread + 1);
    for (int64_t i = split_begin(m, threads_, thread); i < end; ++i)
      for (int64_t j = 0; j < packed.n; ++j)
        products.with_sum([&](auto sum) {
          products.add(i, 0, packed.weight.get() + j * stride, packed.k, sum);
          output.store(i, j, sum);
        });
  });
}

}  // namespace loopwright
