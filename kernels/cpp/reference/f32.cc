// The table that the vectorised files fill in too, as far as an operator calls plain C++ through it.
#include "loopwright/reference.h"

namespace loopwright {
namespace {

template <Activation kActivation>
void apply_rows(float* c, int64_t c_stride, int rows, int n) {
  for (int i = 0; i < rows; ++i, c += c_stride)
    for (int j = 0; j < n; ++j) c[j] = reference_activation(kActivation, c[j]);
}

template <Activation kActivation>
void add_activation(F32Kernels& kernels) {
  kernels.activations[static_cast<int>(kActivation)] = &apply_rows<kActivation>;
}

}  // namespace

const F32Kernels& f32_kernels_reference() {
  static const F32Kernels kernels = [] {
    F32Kernels k;
    add_activation<Activation::kGelu>(k);
    add_activation<Activation::kSigmoid>(k);
    add_activation<Activation::kTanh>(k);
    add_activation<Activation::kSilu>(k);
    add_activation<Activation::kHardSwish>(k);
    k.depthwise.windows = &reference_depthwise_windows;
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
