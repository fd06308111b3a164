// What the integers of a layer stand for: x, a residual and the output in uint8, the weights in int8. Zero points are 0.
#pragma once

#include "layer.h"

namespace onednn {

struct Scales {
  py::array x, weights, out;  // (1), (channels) and (1) of float32
  float residual;

  void add_to(dnnl::primitive_attr& attr, int mask_of_channels) const {
    attr.set_scales_mask(DNNL_ARG_SRC, 0);
    attr.set_scales_mask(DNNL_ARG_WEIGHTS, mask_of_channels);
    attr.set_scales_mask(DNNL_ARG_DST, 0);
  }

  void add_to(Arguments& arguments, Layer& layer) const {
    const auto add = [&](int argument, const py::array& scales) {
      const memory::desc desc({scales.shape(0)}, memory::data_type::f32, memory::format_tag::a);
      arguments.emplace(DNNL_ARG_ATTR_SCALES | argument, layer.input(scales, desc, desc));
    };
    add(DNNL_ARG_SRC, x);
    add(DNNL_ARG_WEIGHTS, weights);
    add(DNNL_ARG_DST, out);
  }
};

}  // namespace onednn
