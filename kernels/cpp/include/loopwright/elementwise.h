// Sums of arrays, clamped.
#pragma once

#include <cstdint>

namespace loopwright {

// out[i] = clamp(a[i] + b[i], lo, hi) for i < n; without b where its pointer is null. `out` may be a or b, but overlap
// them in no other way. NaN passes through.
struct ClampedSumArgs {
  const float* a;
  const float* b;
  float* out;
  int64_t n;
  float lo, hi;
};

using ClampedSumFunction = void (*)(const ClampedSumArgs&);

}  // namespace loopwright
