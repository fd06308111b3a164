// What oneDNN fuses behind a sum of products: a residual, then an activation.
#pragma once

#include <string>

#include "scales.h"

namespace onednn {

struct Activation {
  const char* name;
  dnnl::algorithm algorithm;
  float alpha, beta;
};

constexpr Activation kActivations[] = {
    {"relu", dnnl::algorithm::eltwise_relu, 0.0f, 0.0f},
    {"relu6", dnnl::algorithm::eltwise_clip, 0.0f, 6.0f},
    {"gelu", dnnl::algorithm::eltwise_gelu_erf, 0.0f, 0.0f},
    {"sigmoid", dnnl::algorithm::eltwise_logistic, 0.0f, 0.0f},
    {"tanh", dnnl::algorithm::eltwise_tanh, 0.0f, 0.0f},
    {"silu", dnnl::algorithm::eltwise_swish, 1.0f, 0.0f},
    {"hard_swish", dnnl::algorithm::eltwise_hardswish, 1.0f / 6, 0.5f},
};

// `activation` may be empty. ValueError where it is unknown. A layer of integers has `scales`, those of its weights for
// the dimensions in `mask_of_channels`.
inline dnnl::primitive_attr epilogue(bool residual, const std::string& activation, const Scales* scales = nullptr,
                                     int mask_of_channels = 1) {
  dnnl::post_ops post_ops;
  if (residual) post_ops.append_sum(scales ? scales->residual : 1.0f);
  bool known = activation.empty();
  for (const Activation& entry : kActivations) {
    if (activation != entry.name) continue;
    post_ops.append_eltwise(entry.algorithm, entry.alpha, entry.beta);
    known = true;
  }
  if (!known) throw pybind11::value_error("oneDNN's adapter has no activation " + activation);
  dnnl::primitive_attr attr;
  attr.set_fpmath_mode(dnnl::fpmath_mode::strict);
  attr.set_post_ops(post_ops);
  if (scales) scales->add_to(attr, mask_of_channels);
  return attr;
}

}  // namespace onednn
