// Rounding to 8-bit steps whose size depends on the data, as ONNX's DynamicQuantizeLinear.
#pragma once

#include <cstdint>

namespace loopwright {

// The smallest range that contains 0 and some numbers.
struct DynamicRange {
  float low = 0.0f, high = 0.0f;
  void include(const float* x, int64_t n);
};

// out = clip(round(x / s), -zero, 255 - zero) s, with s = (high - low) / 255, or 1 if that is 0, and zero = round(-low / s).
// Halves are rounded to even.
void round_to_steps(const DynamicRange& range, const float* x, int64_t n, float* out);

}  // namespace loopwright
