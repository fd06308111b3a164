// A slab of rows is converted to floats, convolved and rounded while it is in L2. Each row of the image is converted once per
// chunk; rows that the next slab needs too move to its front.
#include "depthwise/integer_depthwise.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/buffer.h"
#include "gemm/input_words.h"
#include "gemm/tile_quantization.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

constexpr int64_t kShareOfL2 = 2;  // of the slab; the rest is for weights and what streams through
constexpr int64_t kChunksPerThread = 4;

std::vector<float> as_floats(const int8_t* weight, int64_t count) { return {weight, weight + count}; }

}  // namespace

IntegerDepthwiseWeights::IntegerDepthwiseWeights(const int8_t* weight, const Conv2dGeometry& g,
                                                 const LayerEpilogue& epilogue, Isa isa)
    : sums(std::make_shared<const DepthwiseWeights>(as_floats(weight, g.c * g.kh * g.kw).data(), g, LayerEpilogue{},
                                                    isa)),
      constants(epilogue, {const_cast<int8_t*>(weight), g.kh * g.kw, Dtype::kInt8}, g.c, g.kh * g.kw,
                g.c + kernel_table(isa).lanes) {}

IntegerDepthwise::IntegerDepthwise(std::shared_ptr<const IntegerDepthwiseWeights> weights,
                                   const Conv2dGeometry& geometry, const Target& target, int threads,
                                   const std::optional<DepthwiseSchedule>& schedule)
    : weights_(std::move(weights)),
      geometry_(geometry),
      kernels_(kernel_table(target, Dtype::kInt8)),
      epilogue_(
          Epilogue::of_slopes(weights_->constants.activation, weights_->constants.slopes.get(), kernel_table(target))),
      target_(target),
      threads_(threads),
      fixed_(schedule) {
  if (fixed_) fixed_ = sums(fixed_).schedule({1, 1, 1});  // which is checked
}

struct IntegerDepthwise::Call {
  Matrix x;
  Images images;
  Matrix out, residual;
  const DepthwiseConvolution& sums;
  Quantization quantization;  // of x
  bool rounds_x;              // from floats
  TileQuantization tile;
  int64_t oh, ow;
  int64_t rows;  // of the output, in a slab

  int64_t row_floats(const Conv2dGeometry& g) const { return images.w * g.c; }
  int64_t sums_row_floats(const Conv2dGeometry& g) const { return ow * g.c; }
  // Rows of the image under those of a slab, at most.
  int64_t rows_under(const Conv2dGeometry& g) const { return std::min(images.h, (rows - 1) * g.stride_h + g.span_h()); }
  int64_t slab_floats(const Conv2dGeometry& g) const {
    return rows_under(g) * row_floats(g) + rows * sums_row_floats(g);
  }
};

void IntegerDepthwise::run(const Matrix& x, const Images& images, const Matrix& out, const Matrix& residual) const {
  const Conv2dGeometry& g = geometry_;
  const LayerConstants& constants = weights_->constants;
  const DepthwiseSchedule schedule = this->schedule(images);
  const DepthwiseConvolution sums = this->sums(schedule);
  const int threads = schedule.threads.count();
  const InputWords input(kernels_, constants.quantization, x, images.n * images.h * images.w, g.c, threads);
  const LayerEpilogue epilogue = constants.epilogue(input.quantization());
  Call call{x,
            images,
            out,
            residual,
            sums,
            input.quantization(),
            !is_integer(x.dtype),
            tile_quantization(epilogue.quantization),
            g.output_h(images.h),
            g.output_w(images.w),
            1};
  const int64_t lines = images.n * call.oh, chunks = std::min(lines, kChunksPerThread * threads);
  const int64_t most = std::min(call.oh, ceil_div(lines, chunks));
  const int64_t slab_bytes = target_.model->cache_bytes[1] / kShareOfL2;
  Call larger = call;
  while (++larger.rows <= most && larger.slab_floats(g) * static_cast<int64_t>(sizeof(float)) <= slab_bytes)
    call.rows = larger.rows;

  const SlotScratch slabs(call.slab_floats(g), threads);
  parallel_chunks(threads, chunks, [&](int slot, int64_t chunk) {
    const Range part = Range{0, lines}.part(chunks, chunk);
    for (int64_t line = part.begin; line < part.end;) {
      const int64_t image = line / call.oh, begin = line % call.oh;
      const int64_t end = std::min(call.oh, begin + part.end - line);
      run_range(call, image, {begin, end}, slabs.of(slot));
      line += end - begin;
    }
  });
}

void IntegerDepthwise::run_range(const Call& call, int64_t image, Range rows, float* floats) const {
  const Conv2dGeometry& g = geometry_;
  const Images one{1, call.images.h, call.images.w};
  const int64_t row_floats = call.row_floats(g);
  float* const sums = floats + call.rows_under(g) * row_floats;
  Range held{0, 0};  // rows of the image that are floats
  for (int64_t begin = rows.begin; begin < rows.end; begin += call.rows) {
    const int64_t end = std::min(rows.end, begin + call.rows);
    const int64_t top = begin * g.stride_h - g.pad_top, bottom = (end - 1) * g.stride_h - g.pad_top + g.span_h();
    const int64_t first = std::clamp<int64_t>(top, 0, call.images.h);
    const Range wanted{first, std::clamp<int64_t>(bottom, first, call.images.h)};
    const int64_t fresh = std::max(held.end, wanted.begin);
    if (fresh > wanted.begin)
      std::memmove(floats, floats + (wanted.begin - held.begin) * row_floats,
                   static_cast<size_t>((fresh - wanted.begin) * row_floats) * sizeof(float));
    held = wanted;
    if (fresh < wanted.end) {
      const void* from = call.x.address((image * call.images.h + fresh) * call.images.w, 0);
      float* const to = floats + (fresh - wanted.begin) * row_floats;
      const int64_t count = (wanted.end - fresh) * row_floats;
      if (call.rounds_x) {
        kernels_.integer_rows.round(static_cast<const float*>(from), call.quantization, count, to);
      } else {
        kernels_.integer_rows.to_floats(from, call.quantization, count, to);
      }
    }
    call.sums.run_rows({floats - wanted.begin * row_floats, g.c}, one, begin, end,
                       {sums - begin * call.sums_row_floats(g), g.c}, {});
    finish(call, image, {begin, end}, sums);
  }
}

void IntegerDepthwise::finish(const Call& call, int64_t image, Range rows, float* sums) const {
  const LayerConstants& constants = weights_->constants;
  const int64_t c = geometry_.c, pixel = (image * call.oh + rows.begin) * call.ow, pixels = rows.size() * call.ow;
  const bool is_float = call.out.dtype == Dtype::kFloat32;
  float* const y = is_float ? call.out.at<float>(pixel, 0) : sums;
  SumRows of_rows{sums, y, pixels, static_cast<int>(c), constants.scales.get(), constants.bias.get()};
  if (call.residual.data && is_integer(call.residual.dtype)) {
    of_rows.integer_residual = call.residual.at<uint8_t>(pixel, 0);
  } else if (call.residual.data) {
    of_rows.residual = call.residual.at<float>(pixel, 0);
  }
  of_rows.lo = epilogue_.lo;
  of_rows.hi = epilogue_.hi;
  of_rows.slopes = epilogue_.slopes;
  kernels_.integer_rows.scale(of_rows, call.tile);
  if (epilogue_.activate) epilogue_.activate(y, c, static_cast<int>(pixels), static_cast<int>(c), nullptr);
  if (!is_float)
    kernels_.integer_rows.quantize(y, c, call.out.at<uint8_t>(pixel, 0), c, static_cast<int>(pixels),
                                   static_cast<int>(c), call.tile.out);
}

}  // namespace loopwright
