// Pooling: attributes x (n, h, w, c), kernel, stride, padding, dilation, ceil_mode, integers (int8 or uint8, of a maximum; null:
// float32).
#pragma once

#include <tuple>

#include "loopwright/pooling.h"
#include "make.h"

namespace loopwright {

class PoolLayer final : public Layer {
 public:
  template <Pooling kPooling>
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine) {
    const auto [n, h, w, c] = d.sizes<4>("x");
    PoolGeometry g{};
    std::tie(g.h.kernel, g.w.kernel) = std::tuple_cat(d.sizes<2>("kernel"));
    std::tie(g.h.stride, g.w.stride) = std::tuple_cat(d.sizes<2>("stride"));
    std::tie(g.h.dilation, g.w.dilation) = std::tuple_cat(d.sizes<2>("dilation"));
    std::tie(g.h.pad_begin, g.w.pad_begin, g.h.pad_end, g.w.pad_end) = std::tuple_cat(d.sizes<4>("padding"));
    g.ceil_mode = d.flag("ceil_mode");
    positive("sizes", {n, h, w, c, g.h.kernel, g.w.kernel, g.h.stride, g.w.stride, g.h.dilation, g.w.dilation});
    for (const Window* axis : {&g.h, &g.w})
      if (std::max(axis->pad_begin, axis->pad_end) >= axis->span())
        throw std::invalid_argument("padding must be smaller than the kernel");
    const int64_t oh = g.output_h(h), ow = g.output_w(w);
    if (oh < 1 || ow < 1) throw std::invalid_argument("x must have images as large as the kernel");
    const bool integers = kPooling == Pooling::kMax && !d.is_null("integers");
    const Dtype dtype = integers ? parse_integers(d.text("integers")) : Dtype::kFloat32;
    return std::unique_ptr<const Layer>(
        new PoolLayer({{n, h, w, c}, {n, oh, ow, c}}, kPooling, dtype, g, Images{n, h, w}, c, machine));
  }

  void run(const DLTensor* const* tensors) const override {
    if (is_integer(dtype_))
      return max_pool2d_of_integers(geometry_, read(tensors[0]), dtype_, images_, channels_, written(tensors[1]),
                                    machine_.target, machine_.threads);
    pool2d(pooling_, geometry_, read(tensors[0]), images_, channels_, written(tensors[1]), machine_.target,
           machine_.threads);
  }
  DLDataType dtype(size_t /*tensor*/) const override { return dl_type(dtype_); }

 private:
  PoolLayer(std::vector<Shape> shapes, Pooling pooling, Dtype dtype, const PoolGeometry& geometry, const Images& images,
            int64_t channels, const Machine& machine)
      : Layer(std::move(shapes)),
        pooling_(pooling),
        dtype_(dtype),
        geometry_(geometry),
        images_(images),
        channels_(channels),
        machine_(machine) {}

  Pooling pooling_;
  Dtype dtype_;
  PoolGeometry geometry_;
  Images images_;
  int64_t channels_;
  Machine machine_;
};

}  // namespace loopwright
