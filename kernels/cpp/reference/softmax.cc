#include <algorithm>
#include <cmath>
#include <limits>

#include "loopwright/reference.h"

namespace loopwright {

void reference_softmax(const SoftmaxArgs& args) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < args.rows; ++i) {
    const float* x = args.x + i * args.x_stride;
    const float* mask = args.mask ? args.mask + i * args.mask_stride : nullptr;
    float* out = args.out + i * args.out_stride;
    float largest = -kInfinity, sum = 0.0f;
    for (int64_t j = 0; j < args.n; ++j) {
      out[j] = x[j] * args.scale + (mask ? mask[j] : 0.0f);
      largest = std::max(largest, out[j]);
    }
    const float shift = largest > -kInfinity ? largest : 0.0f;
    for (int64_t j = 0; j < args.n; ++j) {
      out[j] = std::exp(out[j] - shift);
      sum += out[j];
    }
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
    for (int64_t j = 0; j < args.n; ++j) out[j] *= inverse;
  }
}

}  // namespace loopwright
