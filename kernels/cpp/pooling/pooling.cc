// out[n, p, q, c] = max or mean over i < kh, j < kw of
//   x[n, p * stride_h - pad_top + i * dilation_h, q * stride_w - pad_left + j * dilation_w, c]
//
// Windows are clipped at the borders of the image, and nothing is copied. The microkernels compute rows of the output, which
// are split over the threads. If there are fewer rows than threads, as in global pooling, channels are split too.
#include "loopwright/pooling.h"

#include "core/split.h"
#include "loopwright/thread_pool.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// The part of a padded axis whose pixels count for the mean.
struct Counted {
  int64_t begin, end;
  Counted(Pooling pooling, const Window& axis, int64_t size)
      : begin(pooling == Pooling::kAverageWithPads ? -axis.pad_begin : 0),
        end(pooling == Pooling::kAverageWithPads ? size + axis.pad_end : size) {}
};

template <class T>
void pool_rows(Pooling pooling, const PoolGeometry& g, const T* x, const Images& in, int64_t c, T* out, int threads,
               void (*pool_row)(const PoolRowOf<T>&)) {
  const int64_t oh = g.output_h(in.h), ow = g.output_w(in.w), lines = in.n * oh;
  const Counted counted_h(pooling, g.h, in.h), counted_w(pooling, g.w, in.w);

  const int64_t workers = threads_worth(in.n * (in.h * in.w + oh * ow) * c, threads);
  const int64_t across_lines = std::min(lines, workers), across_channels = workers / across_lines;
  // Captures values, not references: the other cores fetch the closure alone.
  parallel(static_cast<int>(across_lines * across_channels), [=](int thread) {
    const int64_t i = thread / across_channels, j = thread % across_channels;
    const int64_t channel = std::min(c, split_begin(ceil_div(c, kCacheLine), across_channels, j) * kCacheLine);
    const int64_t channel_end = std::min(c, split_begin(ceil_div(c, kCacheLine), across_channels, j + 1) * kCacheLine);
    PoolRowOf<T> row{};
    row.row_stride = g.h.dilation * in.w * c;
    row.w = in.w;
    row.ow = ow;
    row.pixel_stride = c;
    row.channels = channel_end - channel;
    row.kernel = g.w.kernel;
    row.stride = g.w.stride;
    row.dilation = g.w.dilation;
    row.pad = g.w.pad_begin;
    row.counted_begin = counted_w.begin;
    row.counted_end = counted_w.end;
    const int64_t end = split_begin(lines, across_lines, i + 1);
    for (int64_t line = split_begin(lines, across_lines, i); line < end; ++line) {
      const int64_t image = line / oh, start = line % oh * g.h.stride - g.h.pad_begin;
      const Taps inside = taps_between(start, g.h.kernel, g.h.dilation, 0, in.h);
      row.x = x + (image * in.h + start + inside.first * g.h.dilation) * in.w * c + channel;
      row.rows = inside.count;
      row.y = out + line * ow * c + channel;
      row.counted_rows = taps_between(start, g.h.kernel, g.h.dilation, counted_h.begin, counted_h.end).count;
      pool_row(row);
    }
  });
}

}  // namespace

void pool2d(Pooling pooling, const PoolGeometry& g, const float* x, const Images& in, int64_t c, float* out, Isa isa,
            int threads) {
  const PoolFunctions& functions = kernel_table(isa).pool;
  pool_rows(pooling, g, x, in, c, out, threads, pooling == Pooling::kMax ? functions.max : functions.average);
}

void max_pool2d_of_integers(const PoolGeometry& g, const void* x, Dtype dtype, const Images& in, int64_t c, void* out,
                            Isa isa, int threads) {
  const PoolFunctions& functions = kernel_table(isa, Dtype::kInt8).pool;
  pool_rows(Pooling::kMax, g, static_cast<const uint8_t*>(x), in, c, static_cast<uint8_t*>(out), threads,
            dtype == Dtype::kInt8 ? functions.max_of_int8 : functions.max_of_uint8);
}

}  // namespace loopwright
