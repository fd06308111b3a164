// Convolution by its definition: plain loops, for CPUs without a supported vector ISA.
#include <algorithm>

#include "convolution.h"
#include "core/split.h"
#include "loopwright/thread_pool.h"
#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

class ReferenceConvolution final : public Convolution {
 public:
  ReferenceConvolution(const ConvolutionLayer& layer, SharedPackedConvolution shared)
      : Convolution(std::move(shared)), layer_(layer) {}

  void run(const Conv2dSchedule& s, const Matrix& x, const Images& in, const Matrix& out,
           const Matrix& residual) const override {
    run_rows(s, x, in, 0, in.n * layer_.geometry.output_h(in.h), out, residual);
  }

  void run_rows(const Conv2dSchedule&, const Matrix& x, const Images& in, int64_t first, int64_t last,
                const Matrix& out, const Matrix& residual) const override {
    const Conv2dGeometry& g = layer_.geometry;
    const int64_t oh = g.output_h(in.h), ow = g.output_w(in.w), lines = last - first;
    parallel(layer_.threads, [&](int thread) {
      const int64_t end = first + split_begin(lines, layer_.threads, thread + 1);
      for (int64_t line = first + split_begin(lines, layer_.threads, thread); line < end; ++line)
        for (int64_t q = 0; q < ow; ++q)
          for (int64_t o = 0; o < g.o; ++o) {
            const int64_t pixel = line * ow + q;
            const float sum = dot(x.at<float>(line / oh * in.h * in.w, 0), in, line % oh, q, o);
            const float added = residual.data ? *residual.at<float>(pixel, o) : 0.0f;
            const float start = (packed().bias ? packed().bias[o] : 0.0f) + added;
            const float slope = packed().slopes ? packed().slopes[o] : 0.0f;
            *out.at<float>(pixel, o) = reference_activation(layer_.activation, start + sum, slope);
          }
    });
  }

 private:
  // Returns the sum for output channel `o` of pixel (r, q).
  float dot(const float* image, const Images& in, int64_t r, int64_t q, int64_t o) const {
    const Conv2dGeometry& g = layer_.geometry;
    const int64_t first_channel = o / g.group_o() * g.group_c();
    float sum = 0.0f;
    for (int64_t i = 0; i < g.kh; ++i) {
      const int64_t y = r * g.stride_h - g.pad_top + i * g.dilation_h;
      if (y < 0 || y >= in.h) continue;
      for (int64_t j = 0; j < g.kw; ++j) {
        const int64_t x = q * g.stride_w - g.pad_left + j * g.dilation_w;
        if (x < 0 || x >= in.w) continue;
        const float* pixel = image + (y * in.w + x) * g.c + first_channel;
        const float* tap = packed().weight.get() + ((o * g.kh + i) * g.kw + j) * g.group_c();
        for (int64_t c = 0; c < g.group_c(); ++c) sum += pixel[c] * tap[c];
      }
    }
    return sum;
  }

  ConvolutionLayer layer_;
};

}  // namespace

PackedConvolution pack_reference_convolution(const ConvolutionLayer& layer, const float* weight) {
  const int64_t floats = layer.geometry.o * layer.geometry.reduction();
  PackedConvolution packed{Conv2dSchedule::Algorithm::kDirect, 1, {}, floats, make_weight_buffer(floats), {}};
  std::copy_n(weight, floats, packed.weight.get());
  return packed;
}

std::unique_ptr<const Convolution> make_reference_convolution(const ConvolutionLayer& layer,
                                                              SharedPackedConvolution packed) {
  return std::make_unique<ReferenceConvolution>(layer, std::move(packed));
}

}  // namespace loopwright
