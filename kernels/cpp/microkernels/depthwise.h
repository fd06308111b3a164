// What the microkernels of depthwise convolution compute:
//
//   y[r, q, ch] = clamp(bias[ch] + residual[r, q, ch] + Σ over taps i, j   w[i, j, ch] · x[r·s + i·d, q·s + j·d, ch])
//
// Taps outside the image are left out or, within a row of a strip, meet a zero; so an image needs no zeros around it.
// Finite weights make no difference between the two.
#pragma once

#include <cstdint>

namespace loopwright {

// Weights and what follows the sum. Weights and bias are readable in whole vectors; NaN passes through the clamp.
struct DepthwiseLayer {
  const float* weight;                // of the first tap inside the image
  int64_t weight_row, weight_column;  // floats from tap to tap
  const float* bias;                  // or null
  float lo, hi;
  void (*activate)(float* y, int64_t y_pixel, int pixels, int channels);  // for finished pixels; or null
};

// Rows of the output, some pixels wide, whose windows have the same kernel rows inside the image. Steps are in floats.
struct DepthwiseStrip {
  // Under tap 0 of the first kernel row inside the image, for the first output. It may lie beside the image: bit j of
  // `inside` says whether the pixel j places to the right is part of it.
  const float* x;
  uint32_t inside;
  int64_t kernel_rows, kernel_row_step;
  int64_t x_row, x_pixel;  // from output row to output row, and from pixel to pixel of the image
  float* y;
  const float* residual;  // or null; has the strides of y, and may be y itself
  int64_t y_row, y_pixel;
  int64_t rows, channels;
};

// Neighbouring pixels of an output row whose windows have the same rows × columns taps inside the image.
struct DepthwiseWindows {
  const float* x;  // under the first of these taps, of the first pixel
  int64_t rows, columns, row_step, column_step;
  int64_t count, x_step;  // from output to output
  float* y;
  const float* residual;  // as in DepthwiseStrip
  int64_t y_step;
  int64_t channels;
};

struct DepthwiseFunctions {
  using Strip = void (*)(const DepthwiseStrip&, const DepthwiseLayer&);
  static constexpr int kMaxColumns = 14;

  // By columns of the output, for the usual kernels, where a loaded pixel joins all sums that it has a part in. Columns
  // that a kernel has no strip for are null.
  Strip three[3][kMaxColumns + 1] = {};  // kernels of width 3, by stride along the row
  Strip five[3][kMaxColumns + 1] = {};   // width 5
  // Any geometry, at half the speed.
  void (*windows)(const DepthwiseWindows&, const DepthwiseLayer&) = nullptr;

  // The strips of one kernel, whose height does not matter; null where `windows` has to do.
  const Strip* strips(int64_t kernel_width, int64_t stride, int64_t dilation) const {
    if (dilation != 1 || stride > 2) return nullptr;
    const Strip* found = kernel_width == 3 ? three[stride] : kernel_width == 5 ? five[stride] : nullptr;
    return found && found[1] ? found : nullptr;
  }
};

}  // namespace loopwright
