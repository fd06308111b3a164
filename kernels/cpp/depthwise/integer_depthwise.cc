// Rows of integers: each row of the output reads the rows of the image under it, which stay in L1 or L2 until the next one.
//
// Without functions for them, a slab of rows is converted to floats, convolved and rounded while it is in L2. Each row of the image is
// converted once per chunk; rows that the next slab needs too move to its front.
#include "depthwise/integer_depthwise.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/buffer.h"
#include "core/shares.h"
#include "gemm/input_words.h"
#include "gemm/tile_quantization.h"
#include "loopwright/machine.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

constexpr int64_t kShareOfL2 = 2;  // of the slab; the rest is for weights and what streams through
constexpr int64_t kChunksPerThread = 4;

std::vector<float> as_floats(const int8_t* weight, int64_t count) { return {weight, weight + count}; }

// Returns the taps in words of four rows.
Buffer in_words(const int8_t* weight, const Conv2dGeometry& g, int64_t padded) {
  const int64_t words = ceil_div(g.kh, kBytesPerWord);
  Buffer packed = make_weight_buffer(g.kw * words * padded);
  auto* bytes = reinterpret_cast<int8_t*>(packed.get());
  std::fill_n(bytes, g.kw * words * padded * kWordBytes, int8_t{0});
  for (int64_t channel = 0; channel < g.c; ++channel)
    for (int64_t i = 0; i < g.kh; ++i)
      for (int64_t j = 0; j < g.kw; ++j) {
        const int64_t word = (j * words + i / kBytesPerWord) * padded + IntegerDepthwiseFunctions::place(channel);
        bytes[word * kBytesPerWord + i % kBytesPerWord] = weight[(channel * g.kh + i) * g.kw + j];
      }
  return packed;
}

template <class T>
void put_in_places(const T* from, int64_t channels, T* to) {
  for (int64_t channel = 0; channel < channels; ++channel)
    to[IntegerDepthwiseFunctions::place(channel)] = from[channel];
}

// Returns the constants of channels in their places, with zeros in the others; null if they are.
Buffer in_places(const float* from, int64_t channels, int64_t padded) {
  if (!from) return nullptr;
  Buffer to = make_weight_buffer(padded);
  std::fill_n(to.get(), padded, 0.0f);
  put_in_places(from, channels, to.get());
  return to;
}

}  // namespace

IntegerDepthwiseWeights::IntegerDepthwiseWeights(const int8_t* weight, const Conv2dGeometry& g,
                                                 const LayerEpilogue& epilogue, Isa isa)
    : sums(std::make_shared<const DepthwiseWeights>(as_floats(weight, g.c * g.kh * g.kw).data(), g, LayerEpilogue{},
                                                    isa)),
      constants(epilogue, {const_cast<int8_t*>(weight), g.kh * g.kw, Dtype::kInt8}, g.c, g.kh * g.kw,
                g.c + kernel_table(isa).lanes) {
  if (!kernel_table(isa, Dtype::kInt8).integer_depthwise.rows(g.kh, g.kw, g.stride_w, g.dilation_w)) return;
  const int64_t padded = ceil_div(g.c, IntegerDepthwiseFunctions::kBlock) * IntegerDepthwiseFunctions::kBlock;
  std::vector<int32_t> weight_sums(static_cast<size_t>(padded));
  put_in_places(constants.weight_sums.data(), g.c, weight_sums.data());
  in_places = {padded,
               in_words(weight, g, padded),
               loopwright::in_places(constants.scales.get(), g.c, padded),
               loopwright::in_places(constants.bias.get(), g.c, padded),
               loopwright::in_places(constants.slopes.get(), g.c, padded),
               std::move(weight_sums)};
}

IntegerDepthwise::IntegerDepthwise(std::shared_ptr<const IntegerDepthwiseWeights> weights,
                                   const Conv2dGeometry& geometry, const Target& target, int threads,
                                   const std::optional<DepthwiseSchedule>& schedule)
    : weights_(std::move(weights)),
      geometry_(geometry),
      kernels_(kernel_table(target, Dtype::kInt8)),
      rows_(kernels_.integer_depthwise.rows(geometry.kh, geometry.kw, geometry.stride_w, geometry.dilation_w)),
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
  const bool of_integers =
      is_integer(x.dtype) && is_integer(out.dtype) && (!residual.data || is_integer(residual.dtype));
  if (rows_ && of_integers && !epilogue_.activate) {
    run_integers(x, images, out, residual);
  } else {
    run_slabs(x, images, out, residual);
  }
}

void IntegerDepthwise::evict_weights() const {
  if (!rows_) return sums({}).evict_weights();
  const int64_t words = geometry_.kw * ceil_div(geometry_.kh, kBytesPerWord) * weights_->in_places->channels;
  evict(weights_->in_places->words.get(), words * kWordBytes, threads_);
}

void IntegerDepthwise::run_integers(const Matrix& x, const Images& images, const Matrix& out,
                                    const Matrix& residual) const {
  const Conv2dGeometry& g = geometry_;
  const IntegerDepthwiseWeights::InPlaces& constants = *weights_->in_places;
  const DepthwiseSchedule schedule = this->schedule(images);
  const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w), lines = images.n * oh;
  const EvenSplit tiles(ow, std::min(schedule.columns, IntegerDepthwiseFunctions::kMaxColumns));
  const TileQuantization quantization =
      tile_quantization(weights_->constants.quantization, out.dtype, weights_->constants.activation);
  const IntegerDepthwiseLayer layer{constants.words.get(),
                                    constants.channels,
                                    constants.weight_sums.data(),
                                    constants.scales.get(),
                                    constants.bias.get(),
                                    constants.slopes.get(),
                                    epilogue_,
                                    quantization,
                                    static_cast<uint8_t>(quantization.x.zero_point ^ quantization.x.sign)};

  const int64_t across_m = schedule.threads.m, across_c = schedule.threads.n;
  const int64_t blocks = constants.channels / IntegerDepthwiseFunctions::kBlock;
  parallel_shares(schedule.threads, 1, [&](int, const Share& share) {
    const Range of_blocks = Range{0, blocks}.part(across_c, share.j);
    IntegerDepthwiseRow row{};
    row.channel = of_blocks.begin * IntegerDepthwiseFunctions::kBlock;
    row.channels = std::min(of_blocks.end * IntegerDepthwiseFunctions::kBlock, g.c) - row.channel;
    if (row.channels <= 0) return;
    row.width = images.w;
    row.x_pixel = row.y_pixel = g.c;
    for (int64_t line = split_begin(lines, across_m, share.i); line < split_begin(lines, across_m, share.i + 1);
         ++line) {
      const int64_t image = line / oh, top = g.rows().origin(line % oh);
      for (int64_t i = 0; i < g.kh; ++i) {
        const int64_t at = top + i * g.dilation_h;
        const bool is_inside = at >= 0 && at < images.h;
        row.x[i] = is_inside ? x.at<uint8_t>((image * images.h + at) * images.w, row.channel) : nullptr;
      }
      for (int64_t tile = 0, q = 0; tile < tiles.count; tile += row.tiles) {
        const int64_t pixels = tiles.size(tile);
        row.tiles = tiles.alike(tile);
        row.left = g.columns().origin(q);
        row.y = out.at<uint8_t>(line * ow + q, row.channel);
        row.residual = residual.data ? residual.at<uint8_t>(line * ow + q, row.channel) : nullptr;
        rows_[pixels](row, layer);
        q += row.tiles * pixels;
      }
    }
  });
}

void IntegerDepthwise::run_slabs(const Matrix& x, const Images& images, const Matrix& out,
                                 const Matrix& residual) const {
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
            tile_quantization(epilogue.quantization, out.dtype, epilogue.activation),
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
  if (is_float) return;
  kernels_.integer_rows.quantize(y, c, call.out.at<uint8_t>(pixel, 0), c, static_cast<int>(pixels), static_cast<int>(c),
                                 call.tile.out);
}

}  // namespace loopwright
