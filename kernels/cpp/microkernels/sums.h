// Sums of arrays.
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

// Of a row of the quarters of A, n floats each: s1 = a21 + a22, s2 = s1 - a11, s3 = a11 - a21, s4 = a12 - s2. No s overlaps
// an a.
struct StrassenSumsArgs {
  const float *a11, *a12, *a21, *a22;
  float *s1, *s2, *s3, *s4;
  int64_t n;
};

using StrassenSumsFunction = void (*)(const StrassenSumsArgs&);

}  // namespace loopwright
