// A transposed convolution, which oneDNN calls deconvolution, with weights and activations in oneDNN's own layouts.
#pragma once

#include "epilogue.h"
#include "layer.h"

namespace onednn {

// x (n, h, w, c), weight (c, o, kh, kw), bias (o) or empty, residual and out (n, oh, ow, o). `before` and `after` are what is
// cut off at {top, left} and {bottom, right}; `after` is negative where an output padding adds more.
inline Layer deconvolution(const py::array& x, const py::array& weight, const py::array& bias,
                           const py::array& residual, const py::array& out, const std::string& activation,
                           const memory::dims& strides, const memory::dims& before, const memory::dims& after,
                           const memory::dims& dilation, int threads) {
  using tag = memory::format_tag;
  Layer layer(threads);
  memory::dims filters = shape(weight);
  std::swap(filters[0], filters[1]);
  const memory::desc source(image(x), data_type(x), tag::nhwc), target(image(out), data_type(out), tag::nhwc);
  const memory::desc plain_weights(filters, data_type(weight), tag::iohw);
  const memory::desc bias_desc =
      bias.size() > 0 ? memory::desc({bias.shape(0)}, data_type(bias), tag::a) : memory::desc();
  const memory::dims zero_based = {dilation[0] - 1, dilation[1] - 1};
  const dnnl::deconvolution_forward::primitive_desc desc(
      layer.engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::deconvolution_direct,
      memory::desc(image(x), data_type(x), tag::any), memory::desc(filters, data_type(weight), tag::any), bias_desc,
      memory::desc(image(out), data_type(out), tag::any), strides, zero_based, before, after,
      epilogue(residual.size() > 0, activation));
  Arguments arguments = {{DNNL_ARG_SRC, layer.input(x, source, desc.src_desc())},
                         {DNNL_ARG_WEIGHTS, layer.weights(weight, plain_weights, desc.weights_desc())},
                         {DNNL_ARG_DST, layer.output(out, residual, target, desc.dst_desc())}};
  if (bias.size() > 0) arguments.emplace(DNNL_ARG_BIAS, layer.weights(bias, bias_desc, bias_desc));
  layer.add<dnnl::deconvolution_forward>(desc, std::move(arguments));
  return layer;
}

}  // namespace onednn
