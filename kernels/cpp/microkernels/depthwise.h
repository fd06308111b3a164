// The microkernels of depthwise convolution compute
//
//   y[r, q, ch] = clamp(bias[ch] + residual[r, q, ch] + Σ over taps i, j   w[i, j, ch] · x[r·s + i·d, q·s + j·d, ch])
//
// Taps outside the image are skipped or, within a row of a strip, multiplied by zero, which is the same for finite weights.
// So an image needs no padding around it. x and y are float32 or bfloat16, each microkernel's own types; weights and sums are
// float32.
#pragma once

#include <cstdint>

namespace loopwright {

// Weights and epilogue. Weights and bias must be readable in full vectors. NaN passes through the clamp.
struct DepthwiseLayer {
  const float* weight;                // of the first tap inside the image
  int64_t weight_row, weight_column;  // floats from tap to tap
  const float* bias;                  // or null
  float lo, hi;
  // Applied to finished pixels in float32; or null.
  void (*activate)(float* y, int64_t y_pixel, int pixels, int channels, const float* slopes);
  const float* slopes;  // of kPrelu, or null
};

// Rows of the output, a few pixels wide, whose windows have the same kernel rows inside the image. Steps are in elements.
struct DepthwiseStrip {
  // The pixel under tap 0 of the first kernel row inside the image, for the first output. It may be outside the image: bit
  // j of `inside` is set if the pixel j places to the right is inside.
  const void* x;
  uint32_t inside;
  int64_t kernel_rows, kernel_row_step;
  int64_t x_row, x_pixel;  // steps in the image from output row to output row, and from pixel to pixel
  void* y;
  const void* residual;  // or null; has the strides of y, and may be y itself
  bool residual_is_float;
  int64_t y_row, y_pixel;
  int64_t rows, channels;
};

// Adjacent pixels of an output row whose windows have the same rows × columns taps inside the image.
struct DepthwiseWindows {
  const void* x;  // the pixel under the first of these taps, for the first output
  int64_t rows, columns, row_step, column_step;
  int64_t count, x_step;  // x_step: from output to output
  void* y;
  const void* residual;  // as in DepthwiseStrip
  bool residual_is_float;
  int64_t y_step;
  int64_t channels;
};

struct DepthwiseFunctions {
  using Strip = void (*)(const DepthwiseStrip&, const DepthwiseLayer&);
  static constexpr int kMaxColumns = 14;

  // By columns of the output, for common kernels: each loaded pixel is added to all sums that it is part of. Null if a kernel
  // has no strip of these columns.
  Strip three[3][kMaxColumns + 1] = {};  // width 3, by stride along the row
  Strip five[3][kMaxColumns + 1] = {};   // width 5
  // Supports any geometry, at half the speed.
  void (*windows)(const DepthwiseWindows&, const DepthwiseLayer&) = nullptr;

  // Returns the strips for a kernel of any height, or null if only `windows` supports it.
  const Strip* strips(int64_t kernel_width, int64_t stride, int64_t dilation) const {
    if (dilation != 1 || stride > 2) return nullptr;
    const Strip* found = kernel_width == 3 ? three[stride] : kernel_width == 5 ? five[stride] : nullptr;
    return found && found[1] ? found : nullptr;
  }
};

}  // namespace loopwright
