// A convolution with weights in oneDNN's own layout, and activations in its own too or in blocks of channels.
#pragma once

#include "epilogue.h"
#include "layer.h"

namespace onednn {

// x (n, h, w, c), weight (o, c / groups, kh, kw), bias (o) or empty, residual and out (n, oh, ow, o). `before` and `after`
// are {top, left} and {bottom, right}. `layout` is that of the activations: "any", "nChw16c" or "nChw8c". Left to choose,
// oneDNN takes NHWC for all but a first layer; its depthwise convolutions are up to half as fast again in blocks.
//
// The algorithm is convolution_direct. oneDNN 3.2 offers no float32 Winograd convolution on x86-64: its
// convolution_winograd makes no primitive, and convolution_auto lists the same implementations as convolution_direct.
inline Layer convolution(const py::array& x, const py::array& weight, const py::array& bias, const py::array& residual,
                         const py::array& out, const std::string& activation, const memory::dims& strides,
                         const memory::dims& before, const memory::dims& after, const memory::dims& dilation,
                         memory::dim groups, const std::string& layout, const Scales* scales, int threads) {
  using tag = memory::format_tag;
  Layer layer(threads);
  memory::dims filters = shape(weight);
  if (groups > 1) {
    filters[0] /= groups;
    filters.insert(filters.begin(), groups);
  }
  const memory::desc source(image(x), data_type(x), tag::nhwc), target(image(out), data_type(out), tag::nhwc);
  const memory::desc plain_weights(filters, data_type(weight), groups > 1 ? tag::goihw : tag::oihw);
  const memory::desc bias_desc =
      bias.size() > 0 ? memory::desc({bias.shape(0)}, data_type(bias), tag::a) : memory::desc();
  const tag activations = layout == "nChw16c" ? tag::nChw16c : layout == "nChw8c" ? tag::nChw8c : tag::any;
  const memory::dims zero_based = {dilation[0] - 1, dilation[1] - 1};
  const dnnl::convolution_forward::primitive_desc desc(
      layer.engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
      memory::desc(image(x), data_type(x), activations), memory::desc(filters, data_type(weight), tag::any), bias_desc,
      memory::desc(image(out), data_type(out), activations), strides, zero_based, before, after,
      epilogue(residual.size() > 0, activation, scales, groups > 1 ? 1 << 0 | 1 << 1 : 1 << 0));
  Arguments arguments = {{DNNL_ARG_SRC, layer.input(x, source, desc.src_desc())},
                         {DNNL_ARG_WEIGHTS, layer.weights(weight, plain_weights, desc.weights_desc())},
                         {DNNL_ARG_DST, layer.output(out, residual, target, desc.dst_desc())}};
  if (bias.size() > 0) arguments.emplace(DNNL_ARG_BIAS, layer.weights(bias, bias_desc, bias_desc));
  if (scales) scales->add_to(arguments, layer);
  layer.add<dnnl::convolution_forward>(desc, std::move(arguments));
  return layer;
}

}  // namespace onednn
