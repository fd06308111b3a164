// Sums of arrays.
#pragma once

#include <cstdint>

namespace loopwright {

// out[i] = clamp(a[i] + b[i], lo, hi) for i < n; b counts as zero if null. `out` may be a or b, but must not overlap them
// otherwise. NaN passes through.
struct ClampedSumArgs {
  const float* a;
  const float* b;
  float* out;
  int64_t n;
  float lo, hi;
};

using ClampedSumFunction = void (*)(const ClampedSumArgs&);

// s1 = a21 + a22, s2 = s1 - a11, s3 = a11 - a21, s4 = a12 - s2 for one row of the quarters of A, n floats each. No s may
// overlap an a.
struct StrassenSumsArgs {
  const float *a11, *a12, *a21, *a22;
  float *s1, *s2, *s3, *s4;
  int64_t n;
};

using StrassenSumsFunction = void (*)(const StrassenSumsArgs&);

}  // namespace loopwright
