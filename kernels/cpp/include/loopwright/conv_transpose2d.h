// Transposed two-dimensional convolutions of NHWC images: y = activation(conv_transpose2d(x, weight) + bias + residual).
#pragma once

#include <cstdint>
#include <memory>

#include "loopwright/geometry.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/machine_model.h"

namespace loopwright {

// A transposed convolution of images (n, h, w, c) -> (n, oh, ow, o). Each input pixel is added to the outputs under a window
// with this stride, so the padding cuts off outputs. The output padding adds rows and columns behind them.
struct ConvTranspose2dGeometry {
  int64_t c, o, kh, kw;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t output_pad_h = 0, output_pad_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;

  int64_t group_c() const { return c / groups; }
  int64_t group_o() const { return o / groups; }
  // Not positive if the padding cuts off everything.
  int64_t output_h(int64_t h) const {
    return (h - 1) * stride_h + dilation_h * (kh - 1) + 1 + output_pad_h - pad_top - pad_bottom;
  }
  int64_t output_w(int64_t w) const {
    return (w - 1) * stride_w + dilation_w * (kw - 1) + 1 + output_pad_w - pad_left - pad_right;
  }
  bool operator==(const ConvTranspose2dGeometry& other) const;
};

class ConvTranspose2d {
 public:
  // Weights of phases are packed one by one. Strides of networks are 2 to 32, and to 2,048 in an inverse STFT.
  static constexpr int64_t kMostPhases = 4096;

  // weight (c, o / groups, kh, kw). Copies it and the epilogue. The register tile is chosen for images of `width` columns;
  // others are computed too. Throws std::invalid_argument if this CPU lacks the ISA, if the epilogue is not legal, or if there
  // are more than kMostPhases phases: stride_h * stride_w.
  ConvTranspose2d(const float* weight, const ConvTranspose2dGeometry& geometry, const LayerEpilogue& epilogue,
                  Target target, int64_t width);
  ~ConvTranspose2d();

  // x (n, h, w, c) -> out (n, oh, ow, o), neither of them empty. residual (n, oh, ow, o) is null if absent. It may be `out`
  // itself, but must not overlap it otherwise; `out` must not overlap x. Thread-safe.
  void run(const float* x, const Images& images, float* out, const float* residual, int threads) const;

  // Evicts the packed weights from all caches, as the other layers of a network do. For measurements.
  void evict_weights(int threads) const;

  const ConvTranspose2dGeometry& geometry() const { return geometry_; }

 private:
  struct Packed;

  ConvTranspose2dGeometry geometry_;
  Activation activation_;
  Target target_;
  std::unique_ptr<const Packed> packed_;
};

}  // namespace loopwright
