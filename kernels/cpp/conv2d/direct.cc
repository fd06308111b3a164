// Direct convolution as batch-reduce GEMMs: an output pixel is a sum over kernel taps of products of a row of the
// image's channels with a matrix of weights, and mr neighbouring pixels of an output row are the rows of a register
// tile.
//
//   y[r, q..q+mr, :] = Σ over runs t   X_t (mr × k) · W_t (k × nr)      row i of X_t at x[r·s + kh, (q + i)·s + kw, :]
//
// Nothing is unfolded. In NHWC the taps of one kernel row are neighbours in memory, so with neither dilation nor groups
// a run is a whole kernel row (k = kw·c), else one tap (k = c / groups): the 7×7 first layer of a ResNet is 7 runs
// of 21.
//
// Borders: the image rows that a pass needs are copied into a buffer with zeros around them, which stays in L2 while
// all output channels pass over it. It costs a read and a write of each float for 2·kh·kw·o operations, and keeps every
// tile whole. Without padding the image is read in place.
//
// Tile contract: include/loopwright/brgemm.h; A in place, B packed as panels [k = (kh, kw, c)][nr].
#include <algorithm>
#include <cstring>

#include "convolution.h"
#include "loopwright/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

// Part of the sum that is contiguous both in the image and in the packed weights.
struct Run {
  int64_t row, column, channel, k;  // in the kernel's window; columns and channels in floats
};

class DirectConvolution final : public Convolution {
 public:
  DirectConvolution(const ConvolutionLayer& layer, int packed_nr)
      : Convolution(Conv2dSchedule::Algorithm::kDirect, packed_nr), layer_(layer), kernels_(f32_kernels(layer.isa)) {
    const Conv2dGeometry& g = layer.geometry;
    const int64_t k = g.kh * g.kw * g.group_c(), group_floats = packed_floats(g.group_o(), k, kernels_.lanes);
    weight_ = make_buffer(group_floats * g.groups);
    for (int64_t group = 0; group < g.groups; ++group)
      for (Panel panel : split_panels(g.group_o(), k, nr, kernels_.lanes)) {
        panel.offset += group * group_floats;
        panel.column += group * g.group_o();
        panels_.push_back(panel);
      }
    const auto count = static_cast<int64_t>(panels_.size());
    parallel(layer.threads, [&](int thread) {
      const int64_t last = split_begin(count, layer.threads, thread + 1);
      for (int64_t i = split_begin(count, layer.threads, thread); i < last; ++i)
        pack_panel(panels_[i], layer.weight, k, k, weight_.get() + panels_[i].offset);
    });
  }

  void run(const Conv2dSchedule& s, const float* x, const Images& images, float* out,
           const float* residual) const override;

 private:
  struct Call;
  void run_rectangle(const Call& call, int64_t line_begin, int64_t line_end, int64_t panel_begin, int64_t panel_end,
                     float* block, const float** pointers) const;

  ConvolutionLayer layer_;
  const F32Kernels& kernels_;
  Buffer weight_;
  std::vector<Panel> panels_;
};

// The sum as blocks of `per_block` runs of equal length, near kc altogether.
struct Sum {
  std::vector<Run> runs;
  int64_t per_block;
};

Sum split_sum(const Conv2dGeometry& g, int64_t kc) {
  const bool rows = g.dilation_w == 1 && g.groups == 1;  // a run is a kernel row
  const int64_t taps = rows ? 1 : g.kw, length = rows ? g.kw * g.c : g.group_c();
  int64_t part = std::min(kc, length);  // of a run, where kc is less than one
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

// One call's sizes, for all threads.
struct DirectConvolution::Call {
  const Conv2dSchedule& s;
  const float* x;
  Images images;
  float* out;
  const float* residual;
  int64_t oh, ow;
  bool copied;         // whether image rows are copied between zeros
  int64_t row_floats;  // from image row to image row as it is read
  Sum sum;
};

void DirectConvolution::run(const Conv2dSchedule& s, const float* x, const Images& images, float* out,
                            const float* residual) const {
  const Conv2dGeometry& g = layer_.geometry;
  const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w);
  const int64_t columns = g.padded() ? (ow - 1) * g.stride_w + g.span_w() : images.w;
  const Call call{s, x, images, out, residual, oh, ow, g.padded(), columns * g.c, split_sum(g, s.kc)};

  const int64_t rows = std::min(s.rows, oh);
  const int64_t block_floats = call.copied ? ((rows - 1) * g.stride_h + g.span_h()) * call.row_floats : 0;
  float* blocks = scratch(block_floats * layer_.threads);  // here, because the pool's threads must not throw
  std::vector<const float*> pointers(2 * call.sum.per_block * layer_.threads);

  const int64_t across_m = s.threads_m, across_n = layer_.threads / s.threads_m;
  const int64_t lines = images.n * oh, panels = static_cast<int64_t>(panels_.size());
  parallel(layer_.threads, [&](int thread) {
    const int64_t i = thread / across_n, j = thread % across_n;
    run_rectangle(call, split_begin(lines, across_m, i), split_begin(lines, across_m, i + 1),
                  split_begin(panels, across_n, j), split_begin(panels, across_n, j + 1),
                  blocks + thread * block_floats, pointers.data() + 2 * call.sum.per_block * thread);
  });
}

// Rows begin..end of one image, which reach beyond its borders, with zeros for what is not there.
void copy_rows(const Conv2dGeometry& g, const float* image, int64_t h, int64_t w, int64_t begin, int64_t end,
               int64_t row_floats, float* to) {
  const int64_t left = g.pad_left * g.c, middle = std::min(w * g.c, row_floats - left);
  const auto bytes = [](int64_t floats) { return static_cast<size_t>(floats) * sizeof(float); };
  for (int64_t row = begin; row < end; ++row, to += row_floats) {
    if (row < 0 || row >= h || middle <= 0) {
      std::memset(to, 0, bytes(row_floats));
      continue;
    }
    std::memset(to, 0, bytes(left));
    std::memcpy(to + left, image + row * w * g.c, bytes(middle));
    std::memset(to + left + middle, 0, bytes(row_floats - left - middle));
  }
}

void DirectConvolution::run_rectangle(const Call& call, int64_t line_begin, int64_t line_end, int64_t panel_begin,
                                      int64_t panel_end, float* block, const float** pointers) const {
  const Conv2dGeometry& g = layer_.geometry;
  const Conv2dSchedule& s = call.s;
  const Epilogue epilogue(layer_.activation, kernels_);
  const std::vector<Run>& runs = call.sum.runs;
  const auto all_runs = static_cast<int64_t>(runs.size());
  const int64_t blocks = ceil_div(all_runs, call.sum.per_block), panels = panel_end - panel_begin;
  const int64_t image_floats = call.images.h * call.images.w * g.c;
  const EvenSplit tiles(call.ow, s.mr);

  BrgemmArgs args;
  args.a = pointers;
  args.b = pointers + call.sum.per_block;
  args.k = runs.front().k;
  args.a_stride = g.stride_w * g.c;
  args.c_stride = args.residual_stride = g.o;
  args.prefetch = s.prefetch / static_cast<int64_t>(sizeof(float));
  const float** a = pointers;
  const float** b = pointers + call.sum.per_block;

  for (int64_t line = line_begin, lines; line < line_end; line += lines) {
    const int64_t image = line / call.oh, row = line % call.oh, here = std::min(call.oh - row, line_end - line);
    lines = ceil_div(here, ceil_div(here, s.rows));
    const float* rows = call.x + image * image_floats;
    const int64_t top = row * g.stride_h - g.pad_top;
    if (call.copied) {
      copy_rows(g, rows, call.images.h, call.images.w, top, top + (lines - 1) * g.stride_h + g.span_h(),
                call.row_floats, block);
      rows = block;
    } else {
      rows += top * call.row_floats;
    }
    // Block `index / panels` of the sum, panel `index % panels`: weights in the order in which they are used.
    const auto packed = [&](int64_t index) {
      const Panel& panel = panels_[panel_begin + index % panels];
      return weight_.get() + panel.offset + index / panels * call.sum.per_block * args.k * panel.nr;
    };
    for (int64_t index = 0; index < blocks * panels; ++index) {
      const Panel& panel = panels_[panel_begin + index % panels];
      const int64_t run_begin = index / panels * call.sum.per_block;
      const bool first = run_begin == 0, last = run_begin + call.sum.per_block >= all_runs;
      args.batch = std::min(call.sum.per_block, all_runs - run_begin);
      for (int64_t t = 0; t < args.batch; ++t) b[t] = packed(index) + t * args.k * panel.nr;
      args.n = panel.n;
      args.accumulate = !first;
      args.lo = last ? epilogue.lo : -Epilogue::kInfinity;
      args.hi = last ? epilogue.hi : Epilogue::kInfinity;
      args.bias = layer_.bias ? layer_.bias + panel.column : nullptr;
      // After the last weights of these rows come the first again, for the next rows.
      const bool more = index + 1 < blocks * panels || line + lines < line_end;
      const int64_t next_index = (index + 1) % (blocks * panels);
      const float* next = s.prefetch_next && more && blocks * panels > 1 ? packed(next_index) : nullptr;
      const int64_t next_lines =
          next ? panels_[panel_begin + next_index % panels].vectors * kernels_.lanes / kCacheLine : 0;
      const int64_t group_channel = panel.column / g.group_o() * g.group_c();

      int64_t tile_index = 0;
      for (int64_t r = 0; r < lines; ++r)
        for (int64_t tile = 0, q = 0; tile < tiles.count; ++tile, ++tile_index) {
          const int mr = static_cast<int>(tiles.size(tile));
          const float* window = rows + r * g.stride_h * call.row_floats + q * g.stride_w * g.c + group_channel;
          for (int64_t t = 0; t < args.batch; ++t) {
            const Run& from = runs[run_begin + t];
            a[t] = window + from.row * call.row_floats + from.column + from.channel;
          }
          const int64_t at = ((line + r) * call.ow + q) * g.o + panel.column;
          args.c = call.out + at;
          args.residual = call.residual ? call.residual + at : nullptr;
          // A cache line a step of the sum: as many tiles as a panel has lines a row ask for all of it.
          args.next = tile_index < next_lines ? next + tile_index * args.batch * args.k * kCacheLine : nullptr;
          kernels_.tiles[mr][panel.vectors](args);
          if (last && epilogue.activate) epilogue.activate(args.c, args.c_stride, mr, panel.n);
          q += mr;
        }
    }
  }
}

}  // namespace

std::unique_ptr<const Convolution> make_direct_convolution(const ConvolutionLayer& layer, int nr) {
  return std::make_unique<DirectConvolution>(layer, nr);
}

}  // namespace loopwright
