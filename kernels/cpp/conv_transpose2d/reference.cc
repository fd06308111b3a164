#include "conv_transpose2d/reference.h"

#include "core/split.h"
#include "loopwright/thread_pool.h"
#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

// The sum for output channel `o` of pixel (r, q): of the input pixels whose windows contain it.
float sum_at(const ConvTranspose2dGeometry& g, const float* weight, const float* image, const Images& in, int64_t r,
             int64_t q, int64_t o) {
  const int64_t group_c = g.group_c(), group_o = g.group_o(), group = o / group_o;
  float sum = 0.0f;
  for (int64_t i = 0; i < g.kh; ++i) {
    const int64_t down = r + g.pad_top - i * g.dilation_h;
    if (down < 0 || down % g.stride_h != 0 || down / g.stride_h >= in.h) continue;
    for (int64_t j = 0; j < g.kw; ++j) {
      const int64_t right = q + g.pad_left - j * g.dilation_w;
      if (right < 0 || right % g.stride_w != 0 || right / g.stride_w >= in.w) continue;
      const float* pixel = image + (down / g.stride_h * in.w + right / g.stride_w) * g.c + group * group_c;
      for (int64_t c = 0; c < group_c; ++c)
        sum += pixel[c] * weight[(((group * group_c + c) * group_o + o % group_o) * g.kh + i) * g.kw + j];
    }
  }
  return sum;
}

}  // namespace

void reference_conv_transpose2d(const ConvTranspose2dGeometry& g, const float* weight, const LayerEpilogue& epilogue,
                                const float* x, const Images& images, float* out, const float* residual, int threads) {
  const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w), lines = images.n * oh;
  parallel(threads, [&](int thread) {
    const int64_t end = split_begin(lines, threads, thread + 1);
    for (int64_t line = split_begin(lines, threads, thread); line < end; ++line) {
      const float* image = x + line / oh * images.h * images.w * g.c;
      for (int64_t q = 0; q < ow; ++q)
        for (int64_t o = 0; o < g.o; ++o) {
          const int64_t place = (line * ow + q) * g.o + o;
          const float start = (epilogue.bias ? epilogue.bias[o] : 0.0f) + (residual ? residual[place] : 0.0f);
          const float slope = epilogue.slopes ? epilogue.slopes[o] : 0.0f;
          const float sum = start + sum_at(g, weight, image, images, line % oh, q, o);
          out[place] = reference_activation(epilogue.activation, sum, slope);
        }
    }
  });
}

}  // namespace loopwright
