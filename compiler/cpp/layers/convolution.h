#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>

#include "loopwright/activation.h"
#include "loopwright/conv2d.h"
#include "make.h"

namespace loopwright {

// Sets what the geometries of convolutions and of transposed convolutions have, but not the channels and the kernel.
template <class Geometry>
void set_window(Geometry& g, const Description& d) {
  g.groups = d.integer("groups");
  std::tie(g.stride_h, g.stride_w) = std::tuple_cat(d.sizes<2>("stride"));
  std::tie(g.dilation_h, g.dilation_w) = std::tuple_cat(d.sizes<2>("dilation"));
  std::tie(g.pad_top, g.pad_left, g.pad_bottom, g.pad_right) = std::tuple_cat(d.sizes<4>("padding"));
  positive("sizes", {g.groups, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w});
  const auto sizes = {g.stride_h, g.stride_w, g.dilation_h, g.dilation_w,
                      g.pad_top,  g.pad_left, g.pad_bottom, g.pad_right};
  if (std::max(sizes) > INT32_MAX)  // sums and products of sizes do not overflow
    throw std::invalid_argument("stride, padding and dilation must be at most " + std::to_string(INT32_MAX));
}

// A convolution as described.
struct Convolved {
  Images images;
  Conv2dGeometry geometry;
  bool residual;
  Activation activation;

  explicit Convolved(const Description& d) : geometry{}, activation(parse_activation(d.optional_text("activation"))) {
    const auto [n, h, w, c] = d.sizes<4>("x");
    const auto [o, group_c, kh, kw] = d.sizes<4>("weight_shape");
    Conv2dGeometry& g = geometry;
    set_window(g, d);
    positive("sizes", {n, h, w, c, o, group_c, kh, kw});
    std::tie(g.c, g.o, g.kh, g.kw) = std::tuple(c, o, kh, kw);
    images = {n, h, w};
    residual = d.flag("residual");
    if (g.groups * group_c != c || o % g.groups != 0 || g.output_h(h) < 1 || g.output_w(w) < 1)
      throw std::invalid_argument("x, weight_shape, groups and padding do not match");
  }

  bool is_depthwise() const { return geometry.depthwise() && !geometry.pointwise(); }

  // Whether rows and columns may change places: images and kernel have one column, so the elements keep their order. Tiles of
  // one row of pixels are wider than those of one column.
  bool is_column() const {
    const Conv2dGeometry& g = geometry;
    return images.w == 1 && images.h > 1 && g.kw == 1 && g.kh > 1 && g.pad_left == 0 && g.pad_right == 0;
  }
  // Returns the same convolution with one row in place of one column. Its shapes are others.
  Convolved turned() const {
    Convolved other = *this;
    Conv2dGeometry& g = other.geometry;
    std::swap(other.images.h, other.images.w);
    std::swap(g.kh, g.kw);
    std::swap(g.stride_h, g.stride_w);
    std::swap(g.dilation_h, g.dilation_w);
    std::swap(g.pad_top, g.pad_left);
    std::swap(g.pad_bottom, g.pad_right);
    return other;
  }

  // The types of its tensors. Depthwise kernels of float32 also read and write bfloat16.
  TensorDtypes dtypes(const Description& d, Isa isa) const {
    return {d, geometry.o, residual, isa != Isa::kReference && is_depthwise()};
  }

  Shape x() const { return {images.n, images.h, images.w, geometry.c}; }
  Shape out() const { return {images.n, geometry.output_h(images.h), geometry.output_w(images.w), geometry.o}; }
  Shape weight() const { return {geometry.o, geometry.group_c(), geometry.kh, geometry.kw}; }
};

// The weights of convolutions of all sizes, with the tensors that own their memory.
struct SharedConv2dWeights {
  tvm::ffi::Array<tvm::ffi::Tensor> owner;
  Conv2dWeights weights;

  // `place` is appended to the names of the weights; `described` has the shape of the weight.
  SharedConv2dWeights(const Description& d, const Convolved& c, const Convolved& described, const std::string& place,
                      const Target& target, Dtype dtype)
      : owner(d.weights()),
        weights(weight_of(d, "weight" + place, described.weight(), dtype), dtype, c.geometry,
                epilogue_of(d, c.activation, c.geometry.o, place), target) {}

  // Throws std::invalid_argument unless they are the weights of the convolution.
  void check(const Convolved& c) const {
    if (!Conv2dWeights::alike(weights.geometry(), c.geometry) || weights.activation() != c.activation)
      throw std::invalid_argument("only x and padding may differ between sizes");
  }
};

}  // namespace loopwright
