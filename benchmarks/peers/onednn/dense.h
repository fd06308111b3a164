// y = activation(x · weightᵀ + bias + residual), by one of the two primitives that can compute it.
#pragma once

#include "epilogue.h"
#include "layer.h"

namespace onednn {

// x (m, k), weight (n, k), bias (n) or empty, residual (m, n) or empty, out (m, n), scales for integers. The weights are in
// oneDNN's layout, x and out plain row-major, as a caller has them.
inline Layer dense(const std::string& primitive, const py::array& x, const py::array& weight, const py::array& bias,
                   const py::array& residual, const py::array& out, const std::string& activation, const Scales* scales,
                   int threads) {
  using tag = memory::format_tag;
  Layer layer(threads);
  const memory::dim k = x.shape(1), n = weight.shape(0);
  const memory::desc source(shape(x), data_type(x), tag::ab), target(shape(out), data_type(out), tag::ab);
  const int mask_of_columns = primitive == "inner_product" ? 1 << 0 : 1 << 1;
  const dnnl::primitive_attr attr = epilogue(residual.size() > 0, activation, scales, mask_of_columns);
  const auto arguments = [&](const auto& desc, const memory::desc& plain_weights, const memory::desc& bias_desc) {
    Arguments all = {{DNNL_ARG_SRC, layer.input(x, source, source)},
                     {DNNL_ARG_WEIGHTS, layer.weights(weight, plain_weights, desc.weights_desc())},
                     {DNNL_ARG_DST, layer.output(out, residual, target, target)}};
    if (bias.size() > 0) all.emplace(DNNL_ARG_BIAS, layer.weights(bias, bias_desc, bias_desc));
    if (scales) scales->add_to(all, layer);
    return all;
  };
  if (primitive == "inner_product") {
    const memory::desc bias_desc = bias.size() > 0 ? memory::desc({n}, data_type(bias), tag::a) : memory::desc();
    const dnnl::inner_product_forward::primitive_desc desc(layer.engine(), dnnl::prop_kind::forward_inference, source,
                                                           memory::desc({n, k}, data_type(weight), tag::any), bias_desc,
                                                           target, attr);
    layer.add<dnnl::inner_product_forward>(
        desc, arguments(desc, memory::desc({n, k}, data_type(weight), tag::ab), bias_desc));
  } else {
    const memory::desc bias_desc = bias.size() > 0 ? memory::desc({1, n}, data_type(bias), tag::ab) : memory::desc();
    const dnnl::matmul::primitive_desc desc(layer.engine(), source, memory::desc({k, n}, data_type(weight), tag::any),
                                            bias_desc, target, attr);
    layer.add<dnnl::matmul>(desc, arguments(desc, memory::desc({k, n}, data_type(weight), tag::ba), bias_desc));
  }
  return layer;
}

}  // namespace onednn
