// Each kernel is applied to one channel, so there is no matrix product, and packing or copying images gains nothing. With
// 2·kh·kw operations per float that is loaded and stored, the operator is bound by memory or, if data is in caches, about
// equally by FMAs; microkernels/depthwise_f32.h has the arithmetic.
//
//   for channels whose windows of a strip stay in L1
//     for strips of adjacent output columns
//       down the image: one row of the output after the other, each with few new rows of the input
//
// Windows that extend beyond the image are clipped: rows by starting at another kernel row, columns by a mask of the pixels
// inside.
#include "depthwise.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "core/schedule_checks.h"
#include "core/shares.h"
#include "core/split.h"
#include "core/window.h"
#include "gemm/epilogue.h"
#include "loopwright/machine.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

DepthwiseSchedule checked(DepthwiseSchedule s, const DepthwiseFunctions::Strip* strips, int threads) {
  if (s.columns < 1 || s.columns > DepthwiseFunctions::kMaxColumns || (strips && !strips[s.columns]))
    throw std::invalid_argument("schedule: no strips of " + std::to_string(s.columns) + " columns for this kernel");
  check_blocks("channels", {s.channels});
  s.threads = checked_split(s.threads, threads);
  return s;
}

const DepthwiseFunctions& functions_of(const KernelTable& kernels, Isa isa, Dtype x, Dtype out,
                                       const Matrix& residual) {
  const bool narrow_x = x == Dtype::kBfloat16, narrow_out = out == Dtype::kBfloat16;
  const bool narrow_residual = residual.data && residual.dtype == Dtype::kBfloat16;
  if (!narrow_x && !narrow_out && !narrow_residual) return kernels.depthwise;
  check_dtype(Dtype::kBfloat16, isa);
  return kernel_table(isa, Dtype::kBfloat16).narrow_depthwise[narrow_x][narrow_out];
}

uint32_t pixels_inside(int64_t size, int64_t first, int64_t count) {
  uint32_t inside = 0;
  for (int64_t j = 0; j < count; ++j)
    if (first + j >= 0 && first + j < size) inside |= uint32_t{1} << j;
  return inside;
}

}  // namespace

void DepthwiseConvolution::evict_weights() const {
  evict(weights_->weight.get(), geometry_.kh * geometry_.kw * padded_channels_ * static_cast<int64_t>(sizeof(float)),
        threads_);
}

// The part of a call that one thread computes.
struct DepthwiseConvolution::Part {
  const Call& call;
  int64_t line_begin, line_end;  // rows of the output, numbered across all images
  int64_t channel_begin, channel_end;
};

struct DepthwiseConvolution::Call {
  Matrix x;
  Images images;
  Matrix out, residual;
  const DepthwiseFunctions& functions;      // of these types
  const DepthwiseFunctions::Strip* strips;  // null if this kernel has no strips
  DepthwiseSchedule schedule;
  int64_t oh, ow;
  Window rows, columns;
  std::vector<WindowRun> row_runs, column_runs;  // computed here, because the threads of the pool must not throw
};

DepthwiseWeights::DepthwiseWeights(const float* from, const Conv2dGeometry& geometry, const LayerEpilogue& epilogue,
                                   Isa isa) {
  const int lanes = kernel_table(isa).lanes;
  padded_channels = ceil_div(geometry.c, lanes) * lanes;
  const int64_t taps = geometry.kh * geometry.kw;
  weight = make_weight_buffer(taps * padded_channels);
  for (int64_t channel = 0; channel < geometry.c; ++channel)
    for (int64_t t = 0; t < taps; ++t) weight[t * padded_channels + channel] = from[channel * taps + t];
  bias = padded_copy(epilogue.bias, geometry.c, padded_channels);
  slopes = padded_copy(epilogue.slopes, geometry.c, padded_channels);
}

DepthwiseConvolution::DepthwiseConvolution(std::shared_ptr<const DepthwiseWeights> weights,
                                           const Conv2dGeometry& geometry, Activation activation, Target target,
                                           int threads, const std::optional<DepthwiseSchedule>& schedule)
    : geometry_(geometry),
      kernels_(kernel_table(target)),
      strips_(kernels_.depthwise.strips(geometry.kw, geometry.stride_w, geometry.dilation_w)),
      activation_(activation),
      target_(std::move(target)),
      threads_(threads),
      fixed_(schedule),
      weights_(std::move(weights)),
      padded_channels_(weights_->padded_channels) {
  if (fixed_) fixed_ = checked(*fixed_, strips_, threads);
}

DepthwiseSchedule DepthwiseConvolution::schedule(const Images& images) const {
  return fixed_ ? *fixed_ : default_depthwise_schedule(target_, geometry_, images, threads_);
}

DepthwiseConvolution::Call DepthwiseConvolution::call(const Matrix& x, const Images& images, const Matrix& out,
                                                      const Matrix& residual) const {
  const Conv2dGeometry& g = geometry_;
  const DepthwiseFunctions& functions = functions_of(kernels_, target_, x.dtype, out.dtype, residual);
  const Window rows = g.rows(), columns = g.columns();
  const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w);
  return {x,
          images,
          out,
          residual,
          functions,
          functions.strips(g.kw, g.stride_w, g.dilation_w),
          schedule(images),
          oh,
          ow,
          rows,
          columns,
          window_runs(rows, images.h, oh),
          window_runs(columns, images.w, ow)};
}

void DepthwiseConvolution::run(const Matrix& x, const Images& images, const Matrix& out, const Matrix& residual) const {
  const Call call = this->call(x, images, out, residual);
  const int64_t across_m = call.schedule.threads.m, across_c = call.schedule.threads.n;
  const int64_t lines = images.n * call.oh, vectors = padded_channels_ / kernels_.lanes;
  // A chunk is a pass: the channels whose windows stay in L1.
  const int64_t passes = ceil_div(ceil_div(vectors, across_c), pass_vectors(call));
  parallel_shares(call.schedule.threads, passes, [&](int, const Share& share) {
    const Range of_pass = Range{0, vectors}.part(across_c, share.j).part(passes, share.piece);
    const Part part{call, split_begin(lines, across_m, share.i), split_begin(lines, across_m, share.i + 1),
                    of_pass.begin * kernels_.lanes, std::min(of_pass.end * kernels_.lanes, geometry_.c)};
    if (part.line_begin < part.line_end && part.channel_begin < part.channel_end) run_part(part);
  });
}

void DepthwiseConvolution::run_rows(const Matrix& x, const Images& images, int64_t begin, int64_t end,
                                    const Matrix& out, const Matrix& residual) const {
  run_part({call(x, images, out, residual), begin, end, 0, geometry_.c});
}

int64_t DepthwiseConvolution::pass_vectors(const Call& call) const {
  return std::max<int64_t>(1, call.schedule.channels / kernels_.lanes);
}

void DepthwiseConvolution::run_part(const Part& part) const {
  const Call& call = part.call;
  const EvenSplit passes(ceil_div(part.channel_end - part.channel_begin, kernels_.lanes), pass_vectors(call));
  int64_t channel = part.channel_begin;
  for (int64_t pass = 0; pass < passes.count; ++pass) {
    const int64_t channels = std::min(passes.size(pass) * kernels_.lanes, part.channel_end - channel);
    for (int64_t line = part.line_begin; line < part.line_end;) {
      const int64_t image = line / call.oh, begin = line % call.oh;
      const int64_t end = std::min(call.oh, begin + part.line_end - line);
      const Block block{image, begin, end, channel, channels};
      if (call.strips) {
        run_strips(call, block);
      } else {
        run_windows(call, block);
      }
      line += end - begin;
    }
    channel += channels;
  }
}

DepthwiseLayer DepthwiseConvolution::layer(int64_t kernel_row, int64_t kernel_column, int64_t channel) const {
  const Epilogue epilogue(activation_, weights_->slopes.get(), kernels_);
  const int64_t row = geometry_.kw * padded_channels_;
  return {weights_->weight.get() + kernel_row * row + kernel_column * padded_channels_ + channel,
          row,
          padded_channels_,
          weights_->bias ? weights_->bias.get() + channel : nullptr,
          epilogue.lo,
          epilogue.hi,
          epilogue.activate,
          epilogue.slopes_from(channel)};
}

void DepthwiseConvolution::run_strips(const Call& call, const Block& block) const {
  const int64_t c = geometry_.c, row_floats = call.images.w * c;
  DepthwiseStrip strip;
  strip.kernel_row_step = geometry_.dilation_h * row_floats;
  strip.x_row = geometry_.stride_h * row_floats;
  strip.x_pixel = strip.y_pixel = c;
  strip.y_row = call.ow * c;
  strip.channels = block.channels;

  strip.residual_is_float = call.residual.dtype == Dtype::kFloat32;

  int64_t widest = call.schedule.columns;
  while (!call.strips[widest]) --widest;  // kernels for bfloat16 may be of another ISA
  const EvenSplit tiles(call.ow, widest);
  int64_t q = 0;
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const int64_t columns = tiles.size(tile), left = call.columns.origin(q);
    strip.inside = pixels_inside(call.images.w, left, (columns - 1) * geometry_.stride_w + geometry_.kw);
    for (const WindowRun& run : call.row_runs) {
      const int64_t begin = std::max(run.begin, block.row_begin), end = std::min(run.end, block.row_end);
      if (begin >= end) continue;
      const int64_t top = call.rows.origin(begin) + run.taps.first * geometry_.dilation_h;
      const int64_t at = (block.image * call.oh + begin) * call.ow + q;
      strip.x = call.x.address((block.image * call.images.h + top) * call.images.w + left, block.channel);
      strip.kernel_rows = run.taps.count;
      strip.rows = end - begin;
      strip.y = call.out.address(at, block.channel);
      strip.residual = call.residual.data ? call.residual.address(at, block.channel) : nullptr;
      call.strips[columns](strip, layer(run.taps.first, 0, block.channel));
    }
    q += columns;
  }
}

void DepthwiseConvolution::run_windows(const Call& call, const Block& block) const {
  const int64_t c = geometry_.c;
  DepthwiseWindows windows;
  windows.row_step = geometry_.dilation_h * call.images.w * c;
  windows.column_step = geometry_.dilation_w * c;
  windows.x_step = geometry_.stride_w * c;
  windows.y_step = c;
  windows.channels = block.channels;
  windows.residual_is_float = call.residual.dtype == Dtype::kFloat32;
  for (const WindowRun& rows : call.row_runs)
    for (int64_t r = std::max(rows.begin, block.row_begin); r < std::min(rows.end, block.row_end); ++r)
      for (const WindowRun& columns : call.column_runs) {
        const int64_t top = call.rows.origin(r) + rows.taps.first * geometry_.dilation_h;
        const int64_t left = call.columns.origin(columns.begin) + columns.taps.first * geometry_.dilation_w;
        const int64_t at = (block.image * call.oh + r) * call.ow + columns.begin;
        windows.x = call.x.address((block.image * call.images.h + top) * call.images.w + left, block.channel);
        windows.rows = rows.taps.count;
        windows.columns = columns.taps.count;
        windows.count = columns.end - columns.begin;
        windows.y = call.out.address(at, block.channel);
        windows.residual = call.residual.data ? call.residual.address(at, block.channel) : nullptr;
        call.functions.windows(windows, layer(rows.taps.first, columns.taps.first, block.channel));
      }
}

}  // namespace loopwright
