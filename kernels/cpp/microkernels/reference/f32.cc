// The tables of the reference: every function but the register tiles and what only they need.
#include "microkernels/interleave.h"
#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

template <Activation kActivation>
void apply_rows(float* c, int64_t c_stride, int rows, int n, const float* slopes) {
  for (int i = 0; i < rows; ++i, c += c_stride)
    for (int j = 0; j < n; ++j) c[j] = reference_activation(kActivation, c[j], slopes ? slopes[j] : 0.0f);
}

template <Activation kActivation>
void add_activation(KernelTable& kernels) {
  kernels.activations[static_cast<int>(kActivation)] = &apply_rows<kActivation>;
}

template <int C>
void quantize_planes(const float* planes, int64_t stride, int64_t count, float scale, const TileRounding& rounding,
                     uint8_t* to) {
  const IntegerRowFunctions rows = reference_integer_rows();
  TileRounding divided = rounding;
  divided.steps = 1.0f;
  for (int64_t i = 0; i < count; ++i)
    for (int p = 0; p < C; ++p) {
      const float steps = planes[p * stride + i] / scale;
      rows.quantize(&steps, 0, to + i * C + p, 0, 1, 1, divided);
    }
}

}  // namespace

const KernelTable& f32_reference_kernels() {
  static const KernelTable kernels = [] {
    KernelTable k;
    add_activation<Activation::kGelu>(k);
    add_activation<Activation::kSigmoid>(k);
    add_activation<Activation::kTanh>(k);
    add_activation<Activation::kSilu>(k);
    add_activation<Activation::kHardSwish>(k);
    add_activation<Activation::kPrelu>(k);
    k.attention_weights = &reference_attention_weights;
    k.depthwise.windows = &reference_depthwise_windows;
    k.pool = {&reference_max_pool_row, &reference_average_pool_row};
    add_interleaved_floats(k.planes);
    add_reference_row_operators(k);
    k.channels = reference_channel_functions();
    k.recurrent = reference_recurrent_functions();
    return k;
  }();
  return kernels;
}

const KernelTable& int8_reference_kernels() {
  static const KernelTable kernels = [] {
    KernelTable k = f32_reference_kernels();
    k.tile_k = 2;
    k.integer_rows = reference_integer_rows();
    k.planes.integers[1] = &quantize_planes<1>;
    k.planes.integers[2] = &quantize_planes<2>;
    k.planes.integers[3] = &quantize_planes<3>;
    k.planes.integers[4] = &quantize_planes<4>;
    k.pool.max_of_uint8 = &reference_max_pool_row_of_uint8;
    k.pool.max_of_int8 = &reference_max_pool_row_of_int8;
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
