// Convolution by its definition: plain loops, for CPUs without a supported vector ISA.
#include <algorithm>

#include "convolution.h"
#include "core/split.h"
#include "gemm/reference_output.h"
#include "gemm/reference_products.h"
#include "loopwright/thread_pool.h"

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
    const LayerConstants& constants = packed().constants;
    const ReferenceProducts products(layer_.dtype, constants.quantization, x, in.n * in.h * in.w, g.c);
    const ReferenceOutput output(constants.epilogue(products.quantization()), out, residual);
    parallel(layer_.threads, [&](int thread) {
      const int64_t end = first + split_begin(lines, layer_.threads, thread + 1);
      for (int64_t line = first + split_begin(lines, layer_.threads, thread); line < end; ++line)
        for (int64_t q = 0; q < ow; ++q)
          for (int64_t o = 0; o < g.o; ++o)
            products.with_sum([&](auto sum) {
              add_window(products, line / oh, in, line % oh, q, o, sum);
              output.store(line * ow + q, o, sum);
            });
    });
  }

 private:
  // Adds the products of output channel `o` of pixel (r, q).
  template <class T>
  void add_window(const ReferenceProducts& products, int64_t image, const Images& in, int64_t r, int64_t q, int64_t o,
                  T& sum) const {
    const Conv2dGeometry& g = layer_.geometry;
    const int64_t first_channel = o / g.group_o() * g.group_c(),
                  words = to_words(g.group_c(), kernel_table(layer_.target, layer_.dtype).tile_k);
    for (int64_t i = 0; i < g.kh; ++i) {
      const int64_t row = r * g.stride_h - g.pad_top + i * g.dilation_h;
      if (row < 0 || row >= in.h) continue;
      for (int64_t j = 0; j < g.kw; ++j) {
        const int64_t column = q * g.stride_w - g.pad_left + j * g.dilation_w;
        if (column < 0 || column >= in.w) continue;
        const float* tap = packed().weight.get() + ((o * g.kh + i) * g.kw + j) * words;
        products.add((image * in.h + row) * in.w + column, first_channel, tap, g.group_c(), sum);
      }
    }
  }

  ConvolutionLayer layer_;
};

}  // namespace

PackedConvolution pack_reference_convolution(const ConvolutionLayer& layer, const float* weight) {
  const int64_t floats =
      layer.geometry.o * in_words(layer.geometry, kernel_table(layer.target, layer.dtype).tile_k).reduction();
  PackedConvolution packed{Conv2dSchedule::Algorithm::kDirect, 1, {}, floats, make_weight_buffer(floats), {}};
  std::copy_n(weight, floats, packed.weight.get());
  return packed;
}

std::unique_ptr<const Convolution> make_reference_convolution(const ConvolutionLayer& layer,
                                                              SharedPackedConvolution packed) {
  return std::make_unique<ReferenceConvolution>(layer, std::move(packed));
}

}  // namespace loopwright
