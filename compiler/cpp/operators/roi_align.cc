// RoiAlign: pooling of regions of an image at interpolated places.
// He et al., "Mask R-CNN", 2017; the definition is that of the ONNX operator.
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "../tensors.h"

namespace loopwright {
namespace {

using tvm::ffi::String;

constexpr int64_t kMostSamples = 1 << 20;  // of one cell; more than any image needs

// Four pixels and their weights.
template <typename T>
struct Sample {
  std::array<int64_t, 4> pixels{};
  std::array<T, 4> weights{};
};

// Returns the sample at a place of an image of height x width. Outside, with a margin of one pixel, it is 0.
template <typename T>
Sample<T> sample_at(T y, T x, int64_t height, int64_t width) {
  Sample<T> sample;
  if (!(y >= -1 && y <= static_cast<T>(height) && x >= -1 && x <= static_cast<T>(width))) return sample;
  y = std::max(y, T{0});
  x = std::max(x, T{0});
  const int64_t top = std::min(static_cast<int64_t>(y), height - 1),
                left = std::min(static_cast<int64_t>(x), width - 1);
  const int64_t bottom = std::min(top + 1, height - 1), right = std::min(left + 1, width - 1);
  const T down = top == bottom ? T{0} : y - static_cast<T>(top);
  const T across = left == right ? T{0} : x - static_cast<T>(left);
  sample.pixels = {top * width + left, top * width + right, bottom * width + left, bottom * width + right};
  sample.weights = {(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across};
  return sample;
}

// How a region is divided into cells, and a cell into samples, along one axis.
template <typename T>
struct Division {
  Division(T start, T end, bool half_pixel, int64_t cells, int64_t sampling_ratio) : start(start) {
    T length = end - start;
    if (!half_pixel) length = std::max(length, T{1});  // regions of no size become one pixel
    cell = length / static_cast<T>(cells);
    const T wanted = sampling_ratio > 0 ? static_cast<T>(sampling_ratio) : std::ceil(cell);
    samples = std::isfinite(wanted) ? static_cast<int64_t>(std::clamp(wanted, T{0}, static_cast<T>(kMostSamples))) : 0;
  }

  T place(int64_t cell_index, int64_t sample) const {
    return start + static_cast<T>(cell_index) * cell +
           (static_cast<T>(sample) + T{0.5}) * cell / static_cast<T>(samples);
  }

  T start, cell;
  int64_t samples;
};

template <typename T>
T pooled(const T* channel, const std::vector<Sample<T>>& samples, bool average) {
  if (samples.empty()) return 0;
  T result = average ? 0 : -std::numeric_limits<T>::infinity();
  for (const Sample<T>& sample : samples) {
    std::array<T, 4> parts{};
    for (size_t i = 0; i < 4; ++i) parts[i] = sample.weights[i] * channel[sample.pixels[i]];
    if (average)
      result += parts[0] + parts[1] + parts[2] + parts[3];
    else  // ONNX takes the largest of the weighted pixels, not of the interpolated values
      result = std::max(result, *std::max_element(parts.begin(), parts.end()));
  }
  return average ? result / static_cast<T>(samples.size()) : result;
}

template <typename T>
void pool_regions(const DLTensor* image, const DLTensor* regions, const DLTensor* batches, bool average,
                  int64_t sampling_ratio, T scale, bool half_pixel, DLTensor* out) {
  const int64_t channels = image->shape[1], height = image->shape[2], width = image->shape[3];
  const int64_t cell_rows = out->shape[2], cell_columns = out->shape[3];
  const T shift = half_pixel ? T{0.5} : T{0};
  std::vector<Sample<T>> samples;
  for (int64_t region = 0; region < out->shape[0]; ++region) {
    const T* corner = data<T>(regions) + region * 4;
    const Division<T> across(corner[0] * scale - shift, corner[2] * scale - shift, half_pixel, cell_columns,
                             sampling_ratio);
    const Division<T> down(corner[1] * scale - shift, corner[3] * scale - shift, half_pixel, cell_rows, sampling_ratio);
    if (across.samples > 0 && down.samples > kMostSamples / across.samples)
      TVM_FFI_THROW(ValueError) << "RoiAlign: region " << region << " has more than " << kMostSamples
                                << " samples in a cell";
    const T* planes = data<T>(image) + data<int64_t>(batches)[region] * channels * height * width;
    T* to = data<T>(out) + region * channels * cell_rows * cell_columns;
    for (int64_t i = 0; i < cell_rows; ++i)
      for (int64_t j = 0; j < cell_columns; ++j) {
        samples.clear();
        for (int64_t y = 0; y < down.samples; ++y)
          for (int64_t x = 0; x < across.samples; ++x)
            samples.push_back(sample_at(down.place(i, y), across.place(j, x), height, width));
        for (int64_t c = 0; c < channels; ++c)
          to[(c * cell_rows + i) * cell_columns + j] = pooled(planes + c * height * width, samples, average);
      }
  }
}

// Pools `regions` (count, 4: x1, y1, x2, y2) of an image (n, channels, height, width), both float32 or float64, to `out`
// (count, channels, cells, cells). `batches`, int64, has the image of each region; it was checked before.
void roi_align(DLTensor* image, DLTensor* regions, DLTensor* batches, const String& mode, int64_t sampling_ratio,
               double spatial_scale, bool half_pixel, DLTensor* out) {
  require(image->ndim == 4 && regions->ndim == 2 && regions->shape[1] == 4 && out->ndim == 4 && batches->ndim == 1 &&
              out->shape[0] == regions->shape[0] && batches->shape[0] == regions->shape[0] &&
              out->shape[1] == image->shape[1] && image->shape[2] > 0 && image->shape[3] > 0,
          "roi_align: sizes");
  require(same_type(image, regions) && same_type(image, out) && is_int64(batches) && is_contiguous(image) &&
              is_contiguous(regions) && is_contiguous(batches) && is_contiguous(out),
          "roi_align: types");
  for (int64_t i = 0; i < batches->shape[0]; ++i)
    require(data<int64_t>(batches)[i] >= 0 && data<int64_t>(batches)[i] < image->shape[0], "roi_align: batches");
  with_element_type(image->dtype, [&](auto type) {
    using T = decltype(type);
    if constexpr (std::is_floating_point_v<T>)
      pool_regions<T>(image, regions, batches, mode == "avg", sampling_ratio, static_cast<T>(spatial_scale), half_pixel,
                      out);
    else
      TVM_FFI_THROW(TypeError) << "RoiAlign supports float32 and float64";
  });
}

TVM_FFI_STATIC_INIT_BLOCK() { tvm::ffi::reflection::GlobalDef().def("loopwright.roi_align", &roi_align); }

}  // namespace
}  // namespace loopwright
