#include <cmath>

#include "loopwright/reference.h"

namespace loopwright {

void reference_layer_norm(const LayerNormArgs& args) {
  const auto count = static_cast<float>(args.n);
  for (int64_t i = 0; i < args.rows; ++i) {
    float* out = args.out + i * args.n;
    float total = 0.0f, squares = 0.0f;
    for (int64_t j = 0; j < args.n; ++j) {
      out[j] = args.x[i * args.n + j] + (args.residual ? args.residual[i * args.n + j] : 0.0f);
      total += out[j];
    }
    const float mean = total / count;
    for (int64_t j = 0; j < args.n; ++j) squares += (out[j] - mean) * (out[j] - mean);
    const float inverse = 1.0f / std::sqrt(squares / count + args.eps);
    for (int64_t j = 0; j < args.n; ++j) out[j] = (out[j] - mean) * inverse * args.gamma[j] + args.beta[j];
  }
}

}  // namespace loopwright
