#include "gemm/input_words.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

struct FloatRange {
  float least = 0.0f, most = 0.0f;  // zero is always inside
};

// Returns DynamicQuantizeLinear's integers of numbers in a range, with a scale of 1 if it is empty, as in ONNX Runtime. A range
// whose length is not finite has the scale NaN, which makes the output NaN.
Quantization of_range(FloatRange range) {
  const float scale = (range.most - range.least) / 255.0f;
  if (!std::isfinite(scale)) return {Dtype::kUint8, std::numeric_limits<float>::quiet_NaN(), 0};
  if (scale == 0.0f) return {Dtype::kUint8, 1.0f, 0};
  const float zero_point = std::clamp(std::nearbyint(-range.least / scale), 0.0f, 255.0f);
  return {Dtype::kUint8, scale, static_cast<int32_t>(zero_point)};
}

// `rows` rows of k floats.
FloatRange range_of(const KernelTable& kernels, const Matrix& x, int64_t rows, int64_t k, int threads) {
  // A region of threads takes as long as reading this many floats.
  constexpr int64_t kWorthThreads = 1 << 16;
  if (rows * k < kWorthThreads) threads = 1;
  std::vector<FloatRange> parts(static_cast<size_t>(threads));
  parallel(threads, [&](int thread) {
    FloatRange range;
    for (int64_t i = split_begin(rows, threads, thread); i < split_begin(rows, threads, thread + 1); ++i)
      kernels.integer_rows.add_range(x.at<float>(i, 0), k, &range.least, &range.most);
    parts[static_cast<size_t>(thread)] = range;
  });
  FloatRange all;
  for (const FloatRange& part : parts) all = {std::min(all.least, part.least), std::max(all.most, part.most)};
  return all;
}

}  // namespace

InputWords::InputWords(const KernelTable& kernels, const LayerQuantization& layer, const Matrix& x, int64_t rows,
                       int64_t k, int threads)
    : kernels_(kernels),
      dtype_(x.dtype),
      floats_to_integers_(layer.weight_scales && layer.input != LayerQuantization::Input::kIntegers),
      floats_to_bfloat16_(kernels.narrow && x.dtype == Dtype::kFloat32),
      x_(layer.x) {
  if (!layer.weight_scales) return;
  if (layer.input == LayerQuantization::Input::kFloatsByRange) x_ = of_range(range_of(kernels, x, rows, k, threads));
  if (kernels.tile_k == kBytesPerWord) zero_byte_ = x_.unsigned_zero_point();
}

}  // namespace loopwright
