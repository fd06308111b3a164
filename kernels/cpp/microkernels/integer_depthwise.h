// The microkernels of depthwise convolution of 8-bit integers compute
//
//   y[r, q, ch] = epilogue(Σ over taps i, j   w[i, j, ch] · (x[r·s + i·d, q·s + j, ch] - zero_point))
//
// in int32, with the epilogue of register tiles (tile_epilogue.h). Taps outside the image read bytes of the zero point.
#pragma once

#include <cstdint>

#include "microkernels/tile_epilogue.h"

namespace loopwright {

// Weights and epilogue. All arrays are of the first channel of the strip and readable in full vectors.
struct IntegerDepthwiseLayer {
  // For each column of the kernel, words of the taps of four rows in each channel, padded with zeros: (columns, rows / 4, channels).
  const float* weight;
  int64_t weight_step;  // words from one to the next
  const int32_t* weight_sums;
  const float* scales;
  const float* bias;    // or null
  const float* slopes;  // of kPrelu, or null
  TileActivation activation;
  TileQuantization quantization;
  const uint8_t* zeros;  // kLanes bytes that stand for zero
};

// Rows of the output, a few pixels wide. Steps of x are in bytes, those of y and of the residual in elements.
struct IntegerDepthwiseStrip {
  // The pixel of row 0 of the image under tap 0 of the first output. It may be outside the image: bit j of `inside` is set if
  // the pixel j places to the right is inside.
  const uint8_t* x;
  uint32_t inside;
  int64_t x_row, x_pixel;
  int64_t height;               // of the image
  int64_t top, stride, dilation;  // the row under the first tap of the first output, and steps down the image
  void* y;
  Dtype y_dtype;  // float32, or of the integers of the output
  TileResidual residual;  // its stride is that of pixels; strips ignore the step
  int64_t y_row, y_pixel;
  int64_t rows, channels;
};

struct IntegerDepthwiseFunctions {
  using Strip = void (*)(const IntegerDepthwiseStrip&, const IntegerDepthwiseLayer&);
  static constexpr int kMaxColumns = 14;

  // By columns of the output, for square kernels. Null if there is no such strip.
  Strip three[3][kMaxColumns + 1] = {};  // 3x3, by stride along the row
  Strip five[3][kMaxColumns + 1] = {};   // 5x5

  // Returns the strips of a kernel, or null if it has none.
  const Strip* strips(int64_t height, int64_t width, int64_t stride, int64_t dilation) const {
    if (dilation != 1 || stride > 2 || height != width) return nullptr;
    const Strip* found = width == 3 ? three[stride] : width == 5 ? five[stride] : nullptr;
    return found && found[1] ? found : nullptr;
  }
};

}  // namespace loopwright
