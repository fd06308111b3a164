// Direct convolution as batch-reduce GEMMs. An output pixel is a sum over kernel taps of the product of a row of channels
// with a matrix of weights. The rows of a register tile are mr adjacent pixels of an output row.
//
//   y[r, q..q+mr, :] = Σ over runs t   X_t (mr × k) · W_t (k × nr)      row i of X_t at x[r·s + kh, (q + i)·s + kw, :]
//
// The image is not unfolded (im2col). In NHWC the taps of one kernel row are contiguous in memory. Without dilation and
// groups a run is an entire kernel row (k = kw·c), otherwise one tap (k = c / groups). The 7×7 first layer of a ResNet has 7
// runs of 21.
//
// Borders: the image rows of a pass are copied to a buffer with zeros on their left and right, which stays in L2 while all
// output channels pass over it. The copy costs one load and one store of each float for 2·kh·kw·o operations, and keeps
// every tile full. Rows above and below the image are omitted from the sum. Without padding the image is read in place.
//
// Short runs of float32 are one block whose words have offsets (a_offsets in microkernels/brgemm.h). It needs no prefetch of the
// next weights, which are few.
//
// bfloat16 and int8: channels are words of several channels (gemm/words.h). If they do not divide c / groups, the copy pads each
// pixel. Words of bytes stand for zero if they have the zero point, which the end of a tile subtracts from all sums alike: rows
// above and below the image are copied, too.
//
// Tile contract: microkernels/brgemm.h. A is read in place, B is packed as panels [k = (kh, kw, c)][nr].
#include <algorithm>
#include <cstring>

#include "convolution.h"
#include "core/shares.h"
#include "core/split.h"
#include "gemm/input_words.h"
#include "gemm/tile_output.h"
#include "loopwright/machine.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

// A part of the sum that is contiguous in the image and in the packed weights.
struct Run {
  int64_t row, column, channel, k;  // relative to the window; columns, channels and k in words
};

class DirectConvolution final : public Convolution {
 public:
  DirectConvolution(const ConvolutionLayer& layer, SharedPackedConvolution shared)
      : Convolution(std::move(shared)),
        layer_(layer),
        kernels_(kernel_table(layer.target, layer.dtype)),
        words_(in_words(layer.geometry, kernels_.tile_k)),
        panels_(packed().panels),
        weight_(packed().weight.get()) {}

  void run(const Conv2dSchedule& s, const Matrix& x, const Images& images, const Matrix& out,
           const Matrix& residual) const override {
    run_lines(s, x, images, 0, images.n * words_.output_h(images.h), out, residual);
  }
  void run_rows(const Conv2dSchedule& s, const Matrix& x, const Images& images, int64_t begin, int64_t end,
                const Matrix& out, const Matrix& residual) const override {
    run_lines(s, x, images, begin, end, out, residual);
  }

 private:
  struct Call;
  // Memory of one thread: for a copy of image rows, for partial sums if the output is not float32, and for the addresses of a
  // batch.
  struct Scratch {
    float* rows;
    float* sums;
    const float** pointers;
  };
  // Computes lines begin..end - 1. Lines are the rows of the output, numbered across all images.
  void run_lines(const Conv2dSchedule& s, const Matrix& x, const Images& images, int64_t begin, int64_t end,
                 const Matrix& out, const Matrix& residual) const;
  void run_rectangle(const Call& call, int64_t line_begin, int64_t line_end, int64_t panel_begin, int64_t panel_end,
                     const Scratch& scratch) const;
  // Copies rows begin..end - 1 of one image, with zeros for the padding on their left and right. Rows outside the image are
  // skipped if sums omit them, else filled with zeros.
  void copy_rows(const Call& call, int64_t image, int64_t begin, int64_t end, float* to) const;

  ConvolutionLayer layer_;
  const KernelTable& kernels_;
  Conv2dGeometry words_;
  const std::vector<Panel>& panels_;
  const float* weight_;
};

PanelRows rows_of_panels(const Conv2dGeometry& g, int lanes) {
  return runs_are_rows(g) ? PanelRows{g.kh, g.kw * g.c, lanes} : PanelRows{g.kh * g.kw, g.group_c(), lanes};
}

// A sum split into blocks of `per_block` runs of equal length, near kc in all.
struct Sum {
  std::vector<Run> runs;
  int64_t per_block;
};

Sum split_sum(const Conv2dGeometry& g, int64_t kc) {
  const bool rows = runs_are_rows(g);
  const int64_t taps = rows ? 1 : g.kw, length = rows ? g.kw * g.c : g.group_c();
  int64_t part = std::min(kc, length);  // runs are split if kc is shorter
  while (length % part != 0) --part;
  Sum sum;
  for (int64_t i = 0; i < g.kh; ++i)
    for (int64_t j = 0; j < taps; ++j)
      for (int64_t p = 0; p < length; p += part)
        sum.runs.push_back({i * g.dilation_h, j * g.dilation_w * g.c, p, part});
  const auto count = static_cast<int64_t>(sum.runs.size());
  sum.per_block = ceil_div(count, ceil_div(count, std::max<int64_t>(1, kc / part)));
  return sum;
}

// Runs of at least this many words are blocks of the microkernel. Shorter ones are one block, whose words have offsets. Its FMAs
// wait for each other unless the tile has this many vectors of sums. Narrow tiles, which take no offsets, have fewer: at most 28
// sums.
constexpr int64_t kLongRun = 32;
constexpr int kIndependent = 8;

// Returns the offset of each word of the sum from the first one, in the image or its copy.
std::vector<int32_t> offsets_of_words(const Sum& sum, int64_t row_words) {
  std::vector<int32_t> offsets;
  for (const Run& run : sum.runs)
    for (int64_t p = 0; p < run.k; ++p)
      offsets.push_back(static_cast<int32_t>(run.row * row_words + run.column + run.channel + p));
  return offsets;
}

// The arguments and sizes of a call, for all threads.
struct DirectConvolution::Call {
  const Conv2dSchedule& s;
  Matrix x;  // the channels of the pixels, one row per group
  Images images;
  const InputWords& input;
  TileOutput output;
  int64_t oh, ow;
  bool copied;      // whether image rows are copied
  bool omits_rows;  // whether rows above and below the image are omitted from sums, as they are if zeros are words of 0
  int64_t row_words;  // from image row to image row, in the copy if there is one
  Sum sum;
  bool one_block;                // whether the sum is one block, so partial sums are those of one register tile
  int64_t sums_stride;           // floats from pixel to pixel of partial sums
  std::vector<int32_t> offsets;  // of words of short runs; empty: runs are blocks

  // Points A and B at the sum of a tile over `part` of the runs. `window` is where the tile reads row `top` of the image, and
  // `weights` are those of the first run.
  void set_sum(BrgemmArgs& args, const float** a, const float** b, Range part, const float* window, int64_t top,
               const float* weights, int64_t run_floats) const;
};

void DirectConvolution::run_lines(const Conv2dSchedule& s, const Matrix& x, const Images& images, int64_t begin,
                                  int64_t end, const Matrix& out, const Matrix& residual) const {
  const Conv2dGeometry& g = words_;
  const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w), lines = end - begin;
  const int64_t across_m = s.threads.m, across_n = s.threads.n;
  const auto panels = static_cast<int64_t>(panels_.size());

  const int64_t channels = layer_.geometry.group_c(), products = layer_.geometry.reduction();
  const Matrix groups{x.data, channels, x.dtype};
  const int64_t columns = g.padded() ? (ow - 1) * g.stride_w + g.span_w() : images.w;
  Sum sum = split_sum(g, ceil_div(std::min(s.kc, products) * g.reduction(), products));
  const bool one_block = static_cast<int64_t>(sum.runs.size()) <= sum.per_block;
  const int64_t sums_stride = (one_block ? 1 : ceil_div(panels, across_n)) * packed().nr;
  const LayerConstants& constants = packed().constants;
  const Matrix pixels{x.data, layer_.geometry.c, x.dtype};
  const InputWords input(kernels_, constants.quantization, pixels, images.n * images.h * images.w, layer_.geometry.c,
                         s.threads.count());
  const bool copied = g.padded() || !input.in_place(groups, channels);
  const int64_t row_words = columns * g.c;
  const bool of_steps = sum.runs.size() > 1 && sum.runs.front().k < kLongRun && one_block && s.prefetch == 0 &&
                        kernels_.tile_k == 1 && s.mr * s.nr / kernels_.lanes >= kIndependent &&
                        g.span_h() * row_words <= INT32_MAX;
  std::vector<int32_t> offsets = of_steps ? offsets_of_words(sum, row_words) : std::vector<int32_t>{};
  const Call call{s,
                  groups,
                  images,
                  input,
                  TileOutput(kernels_, constants.epilogue(input.quantization()), out, residual),
                  oh,
                  ow,
                  copied,
                  kernels_.tile_k != kBytesPerWord,
                  row_words,
                  std::move(sum),
                  one_block,
                  sums_stride,
                  std::move(offsets)};

  const int64_t rows = std::min(s.rows, oh);
  const int64_t rows_floats = copied ? ((rows - 1) * g.stride_h + g.span_h()) * call.row_words : 0;
  const int64_t sums_rows = one_block ? s.mr : rows * ow;
  const int64_t sums_floats = out.dtype == Dtype::kFloat32 ? 0 : sums_rows * sums_stride;
  const int64_t before_addresses = whole_lines(rows_floats + sums_floats);
  const SlotScratch floats(before_addresses + floats_of_addresses(2 * call.sum.per_block), s.threads.count());

  // A chunk is a pass: the lines whose input stays in L2.
  const int64_t passes = ceil_div(ceil_div(lines, across_m), rows);
  parallel_shares(s.threads, passes, [&](int slot, const Share& share) {
    const Range of_pass = Range{begin, end}.part(across_m, share.i).part(passes, share.piece);
    float* own = floats.of(slot);
    run_rectangle(call, of_pass.begin, of_pass.end, split_begin(panels, across_n, share.j),
                  split_begin(panels, across_n, share.j + 1),
                  {own, own + rows_floats, reinterpret_cast<const float**>(own + before_addresses)});
  });
}

void DirectConvolution::copy_rows(const Call& call, int64_t image, int64_t begin, int64_t end, float* to) const {
  const Conv2dGeometry& g = words_;
  const int64_t h = call.images.h, w = call.images.w, row_words = call.row_words, channels = layer_.geometry.group_c();
  const int64_t left = std::min(g.pad_left * g.c, row_words), middle = std::min(w * g.c, row_words - left);
  const int per_word = kernels_.tile_k;
  for (int64_t row = begin; row < end; ++row, to += row_words) {
    if (row < 0 || row >= h) {
      if (!call.omits_rows) call.input.pad(to, row_words);
      continue;
    }
    call.input.pad(to, left);
    const int64_t first = (image * h + row) * w * g.groups;
    if (channels % per_word == 0) {
      if (middle > 0) call.input.copy(call.x.address(first, 0), middle * per_word, to + left);
    } else {
      call.input.copy_pixels(call.x.address(first, 0), middle / to_words(channels, per_word), channels, to + left);
    }
    call.input.pad(to + left + middle, row_words - left - middle);
  }
}

void DirectConvolution::Call::set_sum(BrgemmArgs& args, const float** a, const float** b, Range part,
                                      const float* window, int64_t top, const float* weights,
                                      int64_t run_floats) const {
  // Rows above and below the image are omitted. The others are adjacent.
  const auto inside = [&](int64_t t) {
    const int64_t row = top + sum.runs[t].row;
    return !omits_rows || (row >= 0 && row < images.h);
  };
  int64_t first = part.begin, end = part.end;
  while (first < end && !inside(first)) ++first;
  while (first < end && !inside(end - 1)) --end;
  weights += (first - part.begin) * run_floats;
  if (!offsets.empty()) {
    const int64_t k = sum.runs.front().k;
    args.batch = 1;
    args.k = (end - first) * k;
    args.a_offsets = offsets.data() + first * k;
    args.a_run = k;
    a[0] = window;
    b[0] = weights;
    return;
  }
  args.batch = end - first;
  for (int64_t t = first; t < end; ++t, ++a, ++b, weights += run_floats) {
    const Run& run = sum.runs[t];
    *a = window + run.row * row_words + run.column + run.channel;
    *b = weights;
  }
}

void DirectConvolution::run_rectangle(const Call& call, int64_t line_begin, int64_t line_end, int64_t panel_begin,
                                      int64_t panel_end, const Scratch& scratch) const {
  const Conv2dGeometry& g = words_;
  const Conv2dSchedule& s = call.s;
  const std::vector<Run>& runs = call.sum.runs;
  const auto all_runs = static_cast<int64_t>(runs.size());
  const int64_t run_k = runs.front().k;
  const int64_t blocks = ceil_div(all_runs, call.sum.per_block), panels = panel_end - panel_begin;
  if (panels == 0) return;
  const EvenSplit tiles(call.ow, s.mr);

  const float** a = scratch.pointers;
  const float** b = scratch.pointers + call.sum.per_block;
  BrgemmArgs args;
  args.a = a;
  args.b = b;
  args.k = run_k;
  args.a_stride = g.stride_w * g.c;
  args.prefetch = s.prefetch / kWordBytes;

  for (int64_t line = line_begin, lines; line < line_end; line += lines) {
    const int64_t image = line / call.oh, row = line % call.oh, here = std::min(call.oh - row, line_end - line);
    lines = ceil_div(here, ceil_div(here, s.rows));
    const int64_t top = row * g.stride_h - g.pad_top;
    const float* rows = scratch.rows;
    if (call.copied) {
      copy_rows(call, image, top, top + (lines - 1) * g.stride_h + g.span_h(), scratch.rows);
    } else {
      rows = static_cast<const float*>(call.x.address((image * call.images.h + top) * call.images.w * g.groups, 0));
    }
    // The weights of block `index / panels` of the sum and panel `index % panels`, in the order of their use.
    const auto weights_at = [&](int64_t index) {
      const Panel& panel = panels_[panel_begin + index % panels];
      return weight_ + panel.offset + index / panels * call.sum.per_block * run_k * panel.nr;
    };
    for (int64_t index = 0; index < blocks * panels; ++index) {
      const Panel& panel = panels_[panel_begin + index % panels];
      const int64_t run_begin = index / panels * call.sum.per_block;
      const TileOutput::Part of_sum{run_begin == 0, run_begin + call.sum.per_block >= all_runs};
      const int64_t block_runs = std::min(call.sum.per_block, all_runs - run_begin);
      const int64_t run_floats = PanelRows{1, run_k, kernels_.lanes}.run_floats(panel.nr);
      const float* weights = weights_at(index);
      // The last weights of these rows are followed by the first ones, for the next rows.
      const bool more = index + 1 < blocks * panels || line + lines < line_end;
      const int64_t next_index = (index + 1) % (blocks * panels);
      const float* next =
          call.offsets.empty() && s.prefetch_next && more && blocks * panels > 1 ? weights_at(next_index) : nullptr;
      const int64_t next_nr = panels_[panel_begin + next_index % panels].nr;
      args.next_step = even_step(next_nr, lines * tiles.count);
      args.next_tile_step = block_runs * run_k * args.next_step;
      const int64_t group_channel = panel.column / g.group_o() * g.group_c();

      int64_t tile_index = 0;
      for (int64_t r = 0; r < lines; ++r)
        for (int64_t tile = 0, q = 0; tile < tiles.count; tile += args.count, tile_index += args.count) {
          const int mr = static_cast<int>(tiles.size(tile));
          const float* window = rows + r * g.stride_h * call.row_words + q * g.stride_w * g.c + group_channel;
          call.set_sum(args, a, b, {run_begin, run_begin + block_runs}, window, top + r * g.stride_h, weights,
                       run_floats);
          args.count = std::min(call.output.most_in_series(args, of_sum), tiles.alike(tile));
          const bool prefetch = next && tile_index * args.next_step < next_nr;
          args.next = prefetch ? next + tile_index * args.next_tile_step : nullptr;
          if (prefetch)  // the series ends where all of it has been prefetched
            args.count = std::min(args.count, ceil_div(next_nr, args.next_step) - tile_index);
          args.a_step = mr * args.a_stride;
          float* sums = scratch.sums;
          if (!call.one_block)
            sums += (r * call.ow + q) * call.sums_stride + panel.column - panels_[panel_begin].column;
          call.output.run(args, (line + r) * call.ow + q, mr, panel, of_sum, sums, call.sums_stride);
          q += mr * args.count;
        }
    }
  }
}

}  // namespace

PackedConvolution pack_direct_convolution(const ConvolutionLayer& layer, const float* weight, int nr) {
  const Conv2dGeometry g = in_words(layer.geometry, kernel_table(layer.target, layer.dtype).tile_k);
  const int lanes = kernel_table(layer.target, layer.dtype).lanes;
  const PanelRows rows = rows_of_panels(g, lanes);
  const int64_t group_floats = rows.packed_floats(g.group_o(), nr);
  const int64_t floats = group_floats * g.groups;
  PackedConvolution packed{Conv2dSchedule::Algorithm::kDirect, nr, {}, floats, make_weight_buffer(floats), {}};
  for (int64_t group = 0; group < g.groups; ++group)
    for (Panel panel : split_panels(g.group_o(), rows, nr)) {
      panel.offset += group * group_floats;
      panel.column += group * g.group_o();
      packed.panels.push_back(panel);
    }
  pack_panels(packed.panels, weight, rows.count(), rows, packed.weight.get(), layer.threads);
  return packed;
}

std::unique_ptr<const Convolution> make_direct_convolution(const ConvolutionLayer& layer,
                                                           SharedPackedConvolution packed) {
  return std::make_unique<DirectConvolution>(layer, std::move(packed));
}

}  // namespace loopwright
