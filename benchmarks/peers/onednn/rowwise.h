// Layers bound by memory: softmax and layer normalization of rows, pooling of images, and addition.
#pragma once

#include "layer.h"

namespace onednn {

// x and out (rows, columns).
inline Layer softmax(const py::array& x, const py::array& out, int threads) {
  Layer layer(threads);
  const memory::desc desc(shape(x), data_type(x), memory::format_tag::ab);
  const dnnl::softmax_forward::primitive_desc primitive(layer.engine(), dnnl::prop_kind::forward_inference,
                                                        dnnl::algorithm::softmax_accurate, desc, desc, 1);
  layer.add<dnnl::softmax_forward>(primitive, {{DNNL_ARG_SRC, layer.input(x, desc, desc)},
                                               {DNNL_ARG_DST, layer.output(out, py::array(), desc, desc)}});
  return layer;
}

// x and out (rows, columns), gamma and beta (columns).
inline Layer layer_norm(const py::array& x, const py::array& gamma, const py::array& beta, const py::array& out,
                        float epsilon, int threads) {
  Layer layer(threads);
  const memory::desc desc(shape(x), data_type(x), memory::format_tag::ab);
  const memory::desc per_column(shape(gamma), data_type(gamma), memory::format_tag::a);
  const auto flags = dnnl::normalization_flags::use_scale | dnnl::normalization_flags::use_shift;
  const dnnl::layer_normalization_forward::primitive_desc primitive(layer.engine(), dnnl::prop_kind::forward_inference,
                                                                    desc, desc, epsilon, flags);
  layer.add<dnnl::layer_normalization_forward>(primitive, {{DNNL_ARG_SRC, layer.input(x, desc, desc)},
                                                           {DNNL_ARG_SCALE, layer.input(gamma, per_column, per_column)},
                                                           {DNNL_ARG_SHIFT, layer.input(beta, per_column, per_column)},
                                                           {DNNL_ARG_DST, layer.output(out, py::array(), desc, desc)}});
  return layer;
}

// x (n, h, w, c), out (n, oh, ow, c); with `maximum`, else the mean of the pixels that are not padding. Blocks of 16
// channels where `blocked`, else NHWC.
inline Layer pool(const py::array& x, const py::array& out, bool maximum, const memory::dims& kernel,
                  const memory::dims& strides, const memory::dims& before, const memory::dims& after, bool blocked,
                  int threads) {
  using tag = memory::format_tag;
  Layer layer(threads);
  const memory::desc source(image(x), data_type(x), tag::nhwc), target(image(out), data_type(out), tag::nhwc);
  const tag layout = blocked ? tag::nChw16c : tag::nhwc;
  const memory::desc from(image(x), data_type(x), layout), to(image(out), data_type(out), layout);
  const dnnl::pooling_forward::primitive_desc primitive(
      layer.engine(), dnnl::prop_kind::forward_inference,
      maximum ? dnnl::algorithm::pooling_max : dnnl::algorithm::pooling_avg_exclude_padding, from, to, strides, kernel,
      {0, 0}, before, after);
  layer.add<dnnl::pooling_forward>(primitive, {{DNNL_ARG_SRC, layer.input(x, source, from)},
                                               {DNNL_ARG_DST, layer.output(out, py::array(), target, to)}});
  return layer;
}

// a, b and out (rows, columns).
inline Layer add(const py::array& a, const py::array& b, const py::array& out, int threads) {
  Layer layer(threads);
  const memory::desc desc(shape(a), data_type(a), memory::format_tag::ab);
  const dnnl::binary::primitive_desc primitive(layer.engine(), dnnl::algorithm::binary_add, desc, desc, desc);
  layer.add<dnnl::binary>(primitive, {{DNNL_ARG_SRC_0, layer.input(a, desc, desc)},
                                      {DNNL_ARG_SRC_1, layer.input(b, desc, desc)},
                                      {DNNL_ARG_DST, layer.output(out, py::array(), desc, desc)}});
  return layer;
}

}  // namespace onednn
