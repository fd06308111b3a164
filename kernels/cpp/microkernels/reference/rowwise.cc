#include <algorithm>
#include <cmath>
#include <limits>

#include "microkernels/reference/reference.h"

namespace loopwright {

void reference_attention_weights(const AttentionWeightsArgs& args) {
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
    for (int64_t j = 0; j < args.n; ++j) {
      out[j] = std::exp(out[j] - largest);
      sum += out[j];
    }
    const float inverse = 1.0f / sum;
    const bool zeros = args.or_zero && sum != sum;
    for (int64_t j = 0; j < args.n; ++j) out[j] = zeros ? 0.0f : out[j] * inverse;
  }
}

namespace {

void layer_norm(const RowArgs& args) {
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
    const float inverse = 1.0f / std::sqrt(squares / count + args.epsilon);
    for (int64_t j = 0; j < args.n; ++j) out[j] = (out[j] - mean) * inverse * args.gamma[j] + args.beta[j];
  }
}

void rms_norm(const RowArgs& args) {
  const auto count = static_cast<float>(args.n);
  for (int64_t i = 0; i < args.rows; ++i) {
    const float* x = args.x + i * args.n;
    float squares = 0.0f;
    for (int64_t j = 0; j < args.n; ++j) squares += x[j] * x[j];
    const float inverse = 1.0f / std::sqrt(squares / count + args.epsilon);
    for (int64_t j = 0; j < args.n; ++j) args.out[i * args.n + j] = x[j] * inverse * args.gamma[j];
  }
}

void softmax(const RowArgs& args) {
  reference_attention_weights({args.x, args.n, args.out, args.n, args.rows, args.n});
}

}  // namespace

void add_reference_row_operators(KernelTable& kernels) {
  const auto set = [&](RowOperator op, RowFunction f) { kernels.rows[static_cast<int>(op)] = f; };
  set(RowOperator::kLayerNorm, &layer_norm);
  set(RowOperator::kRmsNorm, &rms_norm);
  set(RowOperator::kSoftmax, &softmax);
}

}  // namespace loopwright
