#include <cmath>

#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

// Written so that NaN passes through.
float clamp(float x, float lo, float hi) { return x < lo ? lo : x > hi ? hi : x; }

}  // namespace

float reference_activation(Activation activation, float x, float slope) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return x < 0.0f ? 0.0f : x;
    case Activation::kRelu6: return clamp(x, 0.0f, 6.0f);
    case Activation::kGelu: return 0.5f * x * (1.0f + std::erf(x * 0.707106781f));
    case Activation::kSigmoid: return 1.0f / (1.0f + std::exp(-x));
    case Activation::kTanh: return std::tanh(x);
    case Activation::kSilu: return x / (1.0f + std::exp(-x));
    case Activation::kHardSwish: return x * (clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f);
    case Activation::kPrelu: return x < 0.0f ? slope * x : x;
  }
  return x;
}

}  // namespace loopwright
