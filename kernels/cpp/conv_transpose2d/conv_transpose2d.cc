// Transposed convolution as ordinary convolutions, one per phase (phases.h), on the batch-reduce microkernel.
//
// The outputs of a phase are stride_w pixels apart, which is the stride between the rows of a register tile. With few output
// channels the phases of a row are the columns of one product, because adjacent output pixels are adjacent in memory. With so
// few that the channels of all phases fit one vector, all phases are, and their outputs are then moved to their rows.
//
// All phases of a block of image rows are computed before the next block, so that they read the image once. Its rows are
// copied with zeros around them if a phase reads beyond their ends, as in conv2d/direct.cc.
#include "loopwright/conv_transpose2d.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "conv_transpose2d/phases.h"
#include "conv_transpose2d/reference.h"
#include "core/buffer.h"
#include "core/split.h"
#include "gemm/tile_output.h"
#include "loopwright/machine.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

auto fields(const ConvTranspose2dGeometry& g) {
  return std::tuple(g.c, g.o, g.kh, g.kw, g.stride_h, g.stride_w, g.pad_top, g.pad_left, g.pad_bottom, g.pad_right,
                    g.output_pad_h, g.output_pad_w, g.dilation_h, g.dilation_w, g.groups);
}

}  // namespace

bool ConvTranspose2dGeometry::operator==(const ConvTranspose2dGeometry& other) const {
  return fields(*this) == fields(other);
}

struct ConvTranspose2d::Packed {
  Phases phases;
  int64_t weight_floats;
  Buffer weight;
  Buffer bias, slopes;  // for each of the merged phases, followed by a readable vector tile; or null

  LayerEpilogue epilogue(Activation activation) const { return {bias.get(), activation, slopes.get()}; }
};

namespace {

// A panel of a phase.
struct Unit {
  const Phase* phase;
  const Panel* panel;
};

// The arguments and sizes of a call, for all threads.
struct Call {
  const ConvTranspose2dGeometry& g;
  const KernelTable& kernels;
  LayerEpilogue epilogue;
  const float* weight;
  const float* x;
  Images images;
  float* out;
  const float* residual;
  int64_t oh = 0, ow = 0;
  int64_t lines = 0;                    // input rows of an image for which outputs are computed; more than it has
  int64_t rows = 0;                     // lines of a block
  int64_t first_row = 0, last_row = 0;  // offsets of the image rows that a line reads
  bool copied = false;                  // whether image rows are copied
  int64_t left = 0, row_pixels = 0;     // zeros before a copied row, and pixels of it in all
  std::vector<Unit> units = {};
};

// Returns the input pixels of a row for which a phase has outputs.
int64_t pixels_of(const Call& call, const Phase& phase) {
  return ceil_div(std::max<int64_t>(0, call.ow - phase.column), call.g.stride_w);
}

// Copies rows begin..end - 1 of an image with zeros around them. Skips rows outside the image.
void copy_rows(const Call& call, int64_t image, int64_t begin, int64_t end, float* to) {
  const int64_t c = call.g.c, w = call.images.w, row_floats = call.row_pixels * c;
  for (int64_t row = begin; row < end; ++row, to += row_floats) {
    if (row < 0 || row >= call.images.h) continue;
    float* const pixels = std::fill_n(to, call.left * c, 0.0f);
    std::memcpy(pixels, call.x + (image * call.images.h + row) * w * c, static_cast<size_t>(w * c) * sizeof(float));
    std::fill(pixels + w * c, to + row_floats, 0.0f);
  }
}

// Calls f(row, to, from, count) for each part of a row of the output that is contiguous in merged rows too: `count` floats at
// `to` in the output and at `from` in the sums, whose pixels have the outputs of all phases.
template <class F>
void for_each_part(const Call& call, int64_t line, int64_t pixels, const F& f) {
  const ConvTranspose2dGeometry& g = call.g;
  const int64_t part = g.stride_w * g.o, whole = call.ow * g.o;
  for (int64_t r = 0; r < g.stride_h && line * g.stride_h + r < call.oh; ++r)
    for (int64_t q = 0; q < pixels; ++q)
      f(line * g.stride_h + r, q * part, (q * g.stride_h + r) * part, std::min(part, whole - q * part));
}

// Moves sums of merged rows to their rows of the output.
void scatter(const Call& call, int64_t image, int64_t line, int64_t pixels, const float* sums) {
  const int64_t row_floats = call.ow * call.g.o;
  float* const out = call.out + image * call.oh * row_floats;
  for_each_part(call, line, pixels, [&](int64_t row, int64_t to, int64_t from, int64_t count) {
    float* const outputs = out + row * row_floats + to;
    if (count == 2) {  // the most frequent number: a single output channel
      std::memcpy(outputs, sums + from, 2 * sizeof(float));
    } else {
      for (int64_t i = 0; i < count; ++i) outputs[i] = sums[from + i];
    }
  });
}

// Moves a residual to where the sums of merged rows will be.
void gather_residual(const Call& call, int64_t image, int64_t line, int64_t pixels, float* sums) {
  const int64_t row_floats = call.ow * call.g.o;
  const float* const residual = call.residual + image * call.oh * row_floats;
  for_each_part(call, line, pixels, [&](int64_t row, int64_t to, int64_t from, int64_t count) {
    std::copy_n(residual + row * row_floats + to, count, sums + from);
  });
}

// Computes a panel for an output row, or for all rows of merged phases, whose sums are then in `sums` first. `block` is where
// image row `block_row` is or would be.
void run_row(const Call& call, const Unit& unit, int64_t image, int64_t line, const float* block, int64_t block_row,
             BrgemmArgs& args, const float** pointers, float* sums, int64_t& tile_index, const float* next,
             int64_t next_nr) {
  const ConvTranspose2dGeometry& g = call.g;
  const Phase& phase = *unit.phase;
  const Panel& panel = *unit.panel;
  const int64_t row = line * g.stride_h + phase.row, pixels = pixels_of(call, phase);
  if (row >= call.oh || pixels == 0) return;
  // Rows of the product are input pixels; in the output they are stride_w pixels apart.
  const bool scattered = phase.merged_rows > 1;
  const int64_t stride = scattered ? phase.merged() * g.o : g.stride_w * g.o;
  const int64_t first = ((image * call.oh + row) * call.ow + phase.column) * g.o;
  float* const to = scattered ? sums : call.out + first;
  float* residual = call.residual ? const_cast<float*>(call.residual) + first : nullptr;
  if (residual && scattered) {
    gather_residual(call, image, line, pixels, sums);
    residual = sums;
  }
  // Outputs without gaps between them are activated together: vectors are longer than few channels.
  const Epilogue epilogue = Epilogue::of_tiles(call.epilogue.activation, call.epilogue.slopes, call.kernels);
  const bool together = epilogue.activate && panel.n == stride;
  const TileOutput output(call.kernels, together ? LayerEpilogue{call.epilogue.bias} : call.epilogue,
                          Matrix{to, stride}, Matrix{residual, stride});
  constexpr TileOutput::Part kWhole{true, true};
  const int64_t group_channel = g.groups > 1 ? panel.column / g.group_o() * g.group_c() : 0;
  const auto count = static_cast<int64_t>(phase.runs.size());
  const float** const a = pointers;
  const float** const b = pointers + count;
  args.a = a;
  args.b = b;
  args.k = phase.runs.empty() ? 1 : phase.runs.front().k;
  const int64_t run_floats = PanelRows{1, args.k, call.kernels.lanes}.run_floats(panel.nr);
  const EvenSplit tiles(pixels, call.kernels.max_mr(panel.nr));
  for (int64_t tile = 0, q = 0; tile < tiles.count; tile += args.count, tile_index += args.count) {
    const int mr = static_cast<int>(tiles.size(tile));
    args.batch = 0;
    for (int64_t t = 0; t < count; ++t) {
      const PhaseRun& run = phase.runs[t];
      const int64_t image_row = line + run.row;
      if (image_row < 0 || image_row >= call.images.h) continue;
      a[args.batch] =
          block + ((image_row - block_row) * call.row_pixels + call.left + q + run.column) * g.c + group_channel;
      b[args.batch++] = call.weight + panel.offset + t * run_floats;
    }
    args.count = std::min(output.most_in_series(args, kWhole), tiles.alike(tile));
    const bool prefetch = next && tile_index * args.next_step < next_nr;
    args.next = prefetch ? next + tile_index * args.next_tile_step : nullptr;
    if (prefetch)  // the series ends where all of it has been prefetched
      args.count = std::min(args.count, ceil_div(next_nr, args.next_step) - tile_index);
    args.a_step = mr * args.a_stride;
    output.run(args, q, mr, panel, kWhole, nullptr, 0);
    q += mr * args.count;
  }
  if (together) epilogue.apply(to, stride, 1, static_cast<int>(pixels * stride), 0);
  if (scattered) scatter(call, image, line, pixels, sums);
}

// Computes lines begin..end - 1, numbered across all images, of some units.
void run_rectangle(const Call& call, int64_t begin, int64_t end, int64_t unit_begin, int64_t unit_end, float* rows,
                   float* sums, const float** pointers) {
  const ConvTranspose2dGeometry& g = call.g;
  BrgemmArgs args;
  args.a_stride = g.c;
  args.prefetch = 0;
  for (int64_t line = begin, lines; line < end; line += lines) {
    const int64_t image = line / call.lines, first = line % call.lines, here = std::min(call.lines - first, end - line);
    lines = ceil_div(here, ceil_div(here, call.rows));
    const int64_t block_row = call.copied ? first + call.first_row : 0;
    const float* block = call.x + image * call.images.h * call.images.w * g.c;
    if (call.copied) {
      copy_rows(call, image, block_row, first + lines + call.last_row, rows);
      block = rows;
    }
    for (int64_t u = unit_begin; u < unit_end; ++u) {
      const Unit& unit = call.units[static_cast<size_t>(u)];
      // The last weights of these rows are followed by the first ones, for the next rows.
      const bool more = (u + 1 < unit_end || line + lines < end) && unit_end - unit_begin > 1;
      const Unit& following = call.units[static_cast<size_t>(u + 1 < unit_end ? u + 1 : unit_begin)];
      const float* next = more && !following.phase->runs.empty() ? call.weight + following.panel->offset : nullptr;
      const int64_t next_nr = following.panel->nr, taps = static_cast<int64_t>(unit.phase->runs.size());
      const int64_t k = taps == 0 ? 1 : unit.phase->runs.front().k;
      args.next_step = even_step(next_nr, lines * ceil_div(call.images.w, call.kernels.max_mr(unit.panel->nr)));
      args.next_tile_step = taps * k * args.next_step;
      const int64_t next_k = following.phase->runs.empty()
                                 ? 0
                                 : static_cast<int64_t>(following.phase->runs.size()) * following.phase->runs.front().k;
      // Narrow tiles do not prefetch, and the steps of this panel must fit the next one.
      if (next_k != taps * k || call.kernels.is_narrow(unit.panel->nr)) next = nullptr;
      int64_t tile_index = 0;
      for (int64_t r = 0; r < lines; ++r)
        run_row(call, unit, image, first + r, block, block_row, args, pointers, sums, tile_index, next, next_nr);
    }
  }
}

// Returns the constants of the channels once for each phase, because merged phases have all of their outputs as columns; null
// if absent.
Buffer repeated(const float* constants, const ConvTranspose2dGeometry& g, Isa isa) {
  if (!constants) return {};
  const int64_t most = g.stride_h * g.stride_w;
  Buffer all = make_weight_buffer(most * g.o + KernelTable::kMaxVectors * kernel_table(isa).lanes);
  for (int64_t r = 0; r < most; ++r) std::copy_n(constants, g.o, all.get() + r * g.o);
  return all;
}

}  // namespace

ConvTranspose2d::ConvTranspose2d(const float* weight, const ConvTranspose2dGeometry& geometry,
                                 const LayerEpilogue& epilogue, Target target, int64_t width)
    : geometry_(geometry), activation_(epilogue.activation), target_(std::move(target)) {
  check_dtype(Dtype::kFloat32, target_);
  check_epilogue(epilogue);
  const ConvTranspose2dGeometry& g = geometry_;
  if (g.stride_h > kMostPhases / g.stride_w)
    throw std::invalid_argument("stride_h * stride_w must be at most " + std::to_string(kMostPhases) + ", got " +
                                std::to_string(g.stride_h) + " and " + std::to_string(g.stride_w));
  auto packed = std::make_unique<Packed>();
  const int64_t weights = g.c * g.group_o() * g.kh * g.kw;
  if (target_ == Isa::kReference) {
    packed->weight_floats = weights;
    packed->weight = make_weight_buffer(weights);
    std::copy_n(weight, weights, packed->weight.get());
  } else {
    packed->phases = divide_into_phases(g, target_, std::max<int64_t>(1, width));
    packed->weight_floats = std::max<int64_t>(1, packed->phases.packed_floats);
    packed->weight = make_weight_buffer(packed->weight_floats);
    pack_phases(packed->phases, g, weight, packed->weight.get());
  }
  packed->bias = repeated(epilogue.bias, g, target_);
  packed->slopes = repeated(epilogue.slopes, g, target_);
  packed_ = std::move(packed);
}

ConvTranspose2d::~ConvTranspose2d() = default;

void ConvTranspose2d::evict_weights(int threads) const {
  evict(packed_->weight.get(), packed_->weight_floats * static_cast<int64_t>(sizeof(float)), threads);
}

void ConvTranspose2d::run(const float* x, const Images& images, float* out, const float* residual, int threads) const {
  const ConvTranspose2dGeometry& g = geometry_;
  if (target_ == Isa::kReference)
    return reference_conv_transpose2d(g, packed_->weight.get(), packed_->epilogue(activation_), x, images, out,
                                      residual, threads);
  const Phases& phases = packed_->phases;
  Call call{g, kernel_table(target_), packed_->epilogue(activation_), packed_->weight.get(), x, images, out, residual};
  call.oh = g.output_h(images.h);
  call.ow = g.output_w(images.w);
  call.lines = ceil_div(call.oh, g.stride_h);
  int64_t first_column = 0, pixels = images.w, most_runs = 1, sums_floats = 0;
  for (const Phase& phase : phases.phases) {
    for (const Panel& panel : phase.panels) call.units.push_back({&phase, &panel});
    if (phase.merged_rows > 1) sums_floats = std::max(sums_floats, pixels_of(call, phase) * phase.merged() * g.o);
    if (phase.runs.empty()) continue;
    most_runs = std::max(most_runs, static_cast<int64_t>(phase.runs.size()));
    first_column = std::min(first_column, phase.first_column);
    pixels = std::max(pixels, pixels_of(call, phase) + phase.last_column);
    for (const PhaseRun& run : phase.runs) {
      call.first_row = std::min(call.first_row, run.row);
      call.last_row = std::max(call.last_row, run.row);
    }
  }
  call.copied = first_column < 0 || pixels > images.w;
  call.left = -first_column;
  call.row_pixels = call.copied ? call.left + pixels : images.w;
  // The image rows of a block stay in L2 while all phases and panels read them.
  const int64_t fitting =
      target_.model->cache_bytes[1] / 3 / (call.row_pixels * g.c * static_cast<int64_t>(sizeof(float)));
  call.rows = std::clamp<int64_t>(fitting, std::min<int64_t>(4, call.lines), call.lines);

  // Threads divide the lines, and the panels if there are fewer lines.
  const int64_t lines = images.n * call.lines, units = static_cast<int64_t>(call.units.size());
  int64_t across_m = threads;
  while (across_m > 1 && (threads % across_m != 0 || across_m > lines)) --across_m;
  const int64_t across_n = threads / across_m;
  const int64_t block_rows = std::min(call.rows, lines) + call.last_row - call.first_row;
  const int64_t rows_floats = call.copied ? block_rows * call.row_pixels * g.c : 0;
  const int64_t before_addresses = whole_lines(rows_floats + sums_floats);
  const SlotScratch floats(before_addresses + floats_of_addresses(2 * most_runs), threads);
  parallel(threads, [&](int thread) {
    const int64_t i = thread / across_n, j = thread % across_n;
    float* const own = floats.of(thread);
    run_rectangle(call, split_begin(lines, across_m, i), split_begin(lines, across_m, i + 1),
                  split_begin(units, across_n, j), split_begin(units, across_n, j + 1), own, own + rows_floats,
                  reinterpret_cast<const float**>(own + before_addresses));
  });
}

}  // namespace loopwright
