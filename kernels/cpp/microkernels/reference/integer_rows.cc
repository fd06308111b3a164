#include <algorithm>
#include <cmath>

#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

// NaN becomes the least.
int16_t rounded(float steps, float least, float most) {
  return static_cast<int16_t>(std::nearbyint(steps > least ? std::min(steps, most) : least));
}

void to_words(const void* from, const Quantization& x, int64_t count, float* to) {
  auto* pairs = reinterpret_cast<int16_t*>(to);
  for (int64_t i = 0; i < count; ++i) {
    const int whole =
        x.dtype == Dtype::kInt8 ? static_cast<const int8_t*>(from)[i] : static_cast<const uint8_t*>(from)[i];
    pairs[i] = static_cast<int16_t>(whole - x.zero_point);
  }
  if (count % 2 != 0) pairs[count] = 0;
}

void add_range(const float* x, int64_t count, float* least, float* most) {
  for (int64_t i = 0; i < count; ++i) {
    *least = x[i] < *least ? x[i] : *least;
    *most = x[i] > *most ? x[i] : *most;
  }
}

void quantize_to_words(const float* from, const Quantization& x, int64_t count, float* to) {
  auto* pairs = reinterpret_cast<int16_t*>(to);
  const auto least = static_cast<float>(x.least() - x.zero_point), most = static_cast<float>(x.most() - x.zero_point);
  for (int64_t i = 0; i < count; ++i) pairs[i] = rounded(from[i] / x.scale, least, most);
  if (count % 2 != 0) pairs[count] = 0;
}

void quantize(const float* from, int64_t from_stride, uint8_t* to, int64_t to_stride, int rows, int n,
              const TileRounding& r) {
  for (int i = 0; i < rows; ++i, from += from_stride, to += to_stride)
    for (int j = 0; j < n; ++j)
      to[j] = static_cast<uint8_t>((rounded(from[j] * r.steps, r.lo, r.hi) + r.zero_point) ^ r.sign);
}

}  // namespace

IntegerRowFunctions reference_integer_rows() { return {&to_words, nullptr, &quantize_to_words, &add_range, &quantize}; }

}  // namespace loopwright
