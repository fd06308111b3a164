// softmax(q · kᵀ / sqrt(head_dim)) · v for all heads of a batch: matmul, softmax, matmul.
#pragma once

#include <cmath>

#include "layer.h"

namespace onednn {

// q and out (batch, queries, heads, head_dim), k and v (batch, keys, heads, head_dim). With `head_major`, each head lies
// contiguous in memory; without, oneDNN reads and writes the arrays as they are, by strides.
inline Layer attention(const py::array& q, const py::array& k, const py::array& v, const py::array& out,
                       bool head_major, int threads) {
  using tag = memory::format_tag;
  Layer layer(threads);
  const auto heads_first = [](const py::array& array) {
    return memory::dims{array.shape(0), array.shape(2), array.shape(1), array.shape(3)};
  };
  const memory::dim batch = q.shape(0), heads = q.shape(2), queries = q.shape(1), keys = k.shape(1), size = q.shape(3);
  const auto plain = [&](const py::array& array) {
    return memory::desc(heads_first(array), data_type(array), tag::acbd);
  };
  const auto wanted = [&](const py::array& array) {
    return memory::desc(heads_first(array), data_type(array), head_major ? tag::abcd : tag::acbd);
  };
  // k as the matrix (head_dim, keys): the same memory, its last two dimensions named the other way round.
  const auto transposed = [&](const memory::desc& desc) { return desc.permute_axes({0, 1, 3, 2}); };
  const memory::desc scores_desc({batch, heads, queries, keys}, memory::data_type::f32, tag::abcd);

  dnnl::post_ops scale;
  scale.append_eltwise(dnnl::algorithm::eltwise_linear, 1.0f / std::sqrt(static_cast<float>(size)), 0.0f);
  dnnl::primitive_attr scaled;
  scaled.set_post_ops(scale);
  const memory scores = layer.allocate(scores_desc);
  const dnnl::matmul::primitive_desc similarity(layer.engine(), wanted(q), transposed(wanted(k)), scores_desc, scaled);
  layer.add<dnnl::matmul>(similarity, {{DNNL_ARG_SRC, layer.input(q, plain(q), wanted(q))},
                                       {DNNL_ARG_WEIGHTS, layer.input(k, transposed(plain(k)), transposed(wanted(k)))},
                                       {DNNL_ARG_DST, scores}});
  const dnnl::softmax_forward::primitive_desc softmax(layer.engine(), dnnl::prop_kind::forward_inference,
                                                      dnnl::algorithm::softmax_accurate, scores_desc, scores_desc, 3);
  layer.add<dnnl::softmax_forward>(softmax, {{DNNL_ARG_SRC, scores}, {DNNL_ARG_DST, scores}});
  const dnnl::matmul::primitive_desc mixture(layer.engine(), scores_desc, wanted(v), wanted(out));
  layer.add<dnnl::matmul>(mixture, {{DNNL_ARG_SRC, scores},
                                    {DNNL_ARG_WEIGHTS, layer.input(v, plain(v), wanted(v))},
                                    {DNNL_ARG_DST, layer.output(out, py::array(), plain(out), wanted(out))}});
  return layer;
}

}  // namespace onednn
