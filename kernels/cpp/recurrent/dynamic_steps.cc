#include "recurrent/dynamic_steps.h"

#include <algorithm>

namespace loopwright {
namespace {

// Rounds to the nearest integer, halves to even, for |x| < 2^22: the sum has no bits for fractions.
float whole(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23
  return (x + kShift) - kShift;
}

}  // namespace

void DynamicRange::include(const float* x, int64_t n) {
  float smallest = low, largest = high;
  for (int64_t i = 0; i < n; ++i) {
    smallest = x[i] < smallest ? x[i] : smallest;
    largest = x[i] > largest ? x[i] : largest;
  }
  low = smallest;
  high = largest;
}

void round_to_steps(const DynamicRange& range, const float* x, int64_t n, float* out) {
  const float span = (range.high - range.low) / 255.0f, scale = span == 0.0f ? 1.0f : span;
  const float zero = whole(-range.low / scale), least = -zero, most = 255.0f - zero;
  for (int64_t i = 0; i < n; ++i) {
    const float steps = whole(x[i] / scale);
    out[i] = std::min(most, std::max(least, steps)) * scale;
  }
}

}  // namespace loopwright
