// GridSample: an image at interpolated places; the definition is that of the ONNX operator.
// Jaderberg et al., "Spatial Transformer Networks", 2015.
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

#include "../tensors.h"

namespace loopwright {
namespace {

using tvm::ffi::String;

constexpr int kMostAxes = 3;
constexpr int kMostTaps = 4;
constexpr double kFar = 1 << 30;  // places are clipped to it, so that they fit integers; NaN becomes -kFar

enum class Padding { kZeros, kBorder, kReflection };

template <typename T>
T clipped(T x, T low, T high) {
  return x > low ? (x < high ? x : high) : low;
}

// Mirrors a place at the borders until it is inside.
template <typename T>
T reflected(T x, T low, T high) {
  const T range = high - low;
  if (range <= 0) return low;
  if (x >= low && x <= high) return x;
  const T beyond = x < low ? low - x : x - high;
  const T turns = std::floor(beyond / range), rest = beyond - turns * range;
  const bool even = std::fmod(turns, T{2}) == 0;
  return (x < low) == even ? low + rest : high - rest;
}

// The pixels of one axis that a place is interpolated from. An index of -1 is a zero.
template <typename T>
struct Taps {
  int count = 0;
  std::array<int64_t, kMostTaps> index{};
  std::array<T, kMostTaps> weight{};
};

template <typename T>
class Axis {
 public:
  Axis(int64_t size, Padding padding, bool align_corners)
      : size_(size),
        padding_(padding),
        align_(align_corners),
        low_(align_corners ? T{0} : T{-0.5}),
        high_(static_cast<T>(size - 1) + (align_corners ? T{0} : T{0.5})) {}

  // `place` is from -1 to 1 within the image.
  Taps<T> taps(T place, const String& mode) const {
    const T size = static_cast<T>(size_);
    T x = align_ ? (place + 1) / 2 * (size - 1) : ((place + 1) * size - 1) / 2;
    x = clipped(x, static_cast<T>(-kFar), static_cast<T>(kFar));
    if (padding_ == Padding::kBorder && mode != "cubic") x = clipped(x, T{0}, size - 1);
    if (padding_ == Padding::kReflection && mode != "cubic") x = reflected(x, low_, high_);
    Taps<T> result;
    if (mode == "nearest") {
      result.count = 1;
      result.index[0] = pixel(static_cast<int64_t>(std::nearbyint(x)));
      result.weight[0] = 1;
      return result;
    }
    const T first = std::floor(x), t = x - first;
    if (mode == "linear") {
      result.count = 2;
      result.weight = {1 - t, t};
    } else {
      result.count = 4;
      result.weight = {far(t + 1), near(t), near(1 - t), far(2 - t)};
    }
    const int64_t start = static_cast<int64_t>(first) - (result.count == 4 ? 1 : 0);
    for (int i = 0; i < result.count; ++i) result.index[static_cast<size_t>(i)] = pixel(start + i);
    return result;
  }

 private:
  // Keys' kernel, up to and beyond a distance of 1.
  static constexpr T kA = T{-0.75};
  static T near(T d) { return ((kA + 2) * d - (kA + 3)) * d * d + 1; }
  static T far(T d) { return ((kA * d - 5 * kA) * d + 8 * kA) * d - 4 * kA; }

  int64_t pixel(int64_t i) const {
    if (i >= 0 && i < size_) return i;
    if (padding_ == Padding::kZeros) return -1;
    if (padding_ == Padding::kReflection) i = static_cast<int64_t>(reflected(static_cast<T>(i), low_, high_));
    return std::clamp<int64_t>(i, 0, size_ - 1);
  }

  int64_t size_;
  Padding padding_;
  bool align_;
  T low_, high_;
};

template <typename T>
T interpolated(const T* channel, const int64_t* sizes, const std::array<Taps<T>, kMostAxes>& taps, int axes) {
  T total = 0;
  std::array<int, kMostAxes> at{};
  for (;;) {
    int64_t place = 0;
    T weight = 1;
    bool inside = true;
    for (int a = 0; a < axes; ++a) {
      const auto& axis = taps[static_cast<size_t>(a)];
      const auto tap = static_cast<size_t>(at[static_cast<size_t>(a)]);
      inside = inside && axis.index[tap] >= 0;
      place = place * sizes[a] + axis.index[tap];
      weight *= axis.weight[tap];
    }
    if (inside) total += weight * channel[place];
    int a = axes - 1;
    for (; a >= 0; --a) {
      if (++at[static_cast<size_t>(a)] < taps[static_cast<size_t>(a)].count) break;
      at[static_cast<size_t>(a)] = 0;
    }
    if (a < 0) return total;
  }
}

template <typename T>
void sample(const DLTensor* image, const DLTensor* grid, const String& mode, Padding padding, bool align_corners,
            DLTensor* out) {
  const int axes = image->ndim - 2;
  const int64_t channels = image->shape[1], pixels = product(image->shape, 2, image->ndim);
  const int64_t places = product(out->shape, 2, out->ndim);
  std::array<Taps<T>, kMostAxes> taps;
  for (int64_t n = 0; n < out->shape[0]; ++n)
    for (int64_t p = 0; p < places; ++p) {
      const T* place = data<T>(grid) + (n * places + p) * axes;
      for (int a = 0; a < axes; ++a)  // the last coordinate of a place belongs to the first axis
        taps[static_cast<size_t>(a)] =
            Axis<T>(image->shape[2 + a], padding, align_corners).taps(place[axes - 1 - a], mode);
      for (int64_t c = 0; c < channels; ++c)
        data<T>(out)[(n * channels + c) * places + p] =
            interpolated(data<T>(image) + (n * channels + c) * pixels, image->shape + 2, taps, axes);
    }
}

// Samples an image (n, channels, ...), float32 or float64, at the places of a grid (n, ..., axes) of the same type.
// `mode` is nearest, linear or cubic; `padding` is zeros, border or reflection.
void grid_sample(DLTensor* image, DLTensor* grid, const String& mode, const String& padding, bool align_corners,
                 DLTensor* out) {
  const int axes = image->ndim - 2;
  require(axes >= 1 && axes <= kMostAxes && grid->ndim == image->ndim && out->ndim == image->ndim &&
              grid->shape[axes + 1] == axes && product(image->shape, 2, image->ndim) > 0,
          "grid_sample: axes");
  require(same_type(image, grid) && same_type(image, out) && is_contiguous(image) && is_contiguous(grid) &&
              is_contiguous(out) && out->shape[0] == image->shape[0] && out->shape[1] == image->shape[1] &&
              grid->shape[0] == image->shape[0] && std::equal(out->shape + 2, out->shape + out->ndim, grid->shape + 1),
          "grid_sample: types and sizes");
  require((mode == "nearest" || mode == "linear" || mode == "cubic") &&
              (padding == "zeros" || padding == "border" || padding == "reflection"),
          "grid_sample: mode and padding");
  const Padding kind = padding == "zeros"    ? Padding::kZeros
                       : padding == "border" ? Padding::kBorder
                                             : Padding::kReflection;
  with_element_type(image->dtype, [&](auto type) {
    using T = decltype(type);
    if constexpr (std::is_floating_point_v<T>)
      sample<T>(image, grid, mode, kind, align_corners, out);
    else
      TVM_FFI_THROW(TypeError) << "GridSample supports float32 and float64";
  });
}

TVM_FFI_STATIC_INIT_BLOCK() { tvm::ffi::reflection::GlobalDef().def("loopwright.grid_sample", &grid_sample); }

}  // namespace
}  // namespace loopwright
