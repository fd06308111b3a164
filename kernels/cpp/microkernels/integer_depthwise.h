// The microkernels of depthwise convolution of 8-bit integers compute
//
//   y[q, ch] = epilogue(Σ over taps i, j   w[i, j, ch] · (x[i, q·s + j, ch] - zero_point))
//
// in int32, with the epilogue of register tiles (tile_epilogue.h). Taps outside the image read bytes of the zero point.
#pragma once

#include <cstdint>

#include "microkernels/tile_epilogue.h"

namespace loopwright {

// Weights and epilogue. The arrays have the channels in the order of IntegerDepthwiseFunctions::place(), padded to whole blocks.
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
  uint8_t zero;  // the integer that stands for zero in x
};

// Pixels of an output row. The output and the residual are 8-bit integers. Pointers are to the first of `channels`, steps in bytes.
struct IntegerDepthwiseRow {
  static constexpr int kMaxTaps = 5;

  const uint8_t* x[kMaxTaps];  // for each row of the kernel, column 0 of the image; null: outside the image
  int64_t width;               // columns of the image
  int64_t left;                // the column under the first tap of the first output
  int64_t x_pixel;
  uint8_t* y;
  const uint8_t* residual;  // or null; has the steps of y
  int64_t y_pixel;
  int64_t tiles;              // each of as many pixels as the function has
  int64_t channel, channels;  // the channels from `channel` on, which starts a block
};

struct IntegerDepthwiseFunctions {
  using Row = void (*)(const IntegerDepthwiseRow&, const IntegerDepthwiseLayer&);
  static constexpr int kMaxColumns = 4;
  static constexpr int kBlock = 64;  // channels

  // By pixels of a tile, for square kernels. Null if there is no such function.
  Row three[3][kMaxColumns + 1] = {};  // 3x3, by stride along the row
  Row five[3][kMaxColumns + 1] = {};   // 5x5

  // Returns the functions of a kernel, or null if it has none.
  const Row* rows(int64_t height, int64_t width, int64_t stride, int64_t dilation) const {
    if (dilation != 1 || stride > 2 || height != width) return nullptr;
    const Row* found = width == 3 ? three[stride] : width == 5 ? five[stride] : nullptr;
    return found && found[1] ? found : nullptr;
  }

  // Returns the index of the constants of a channel. Interleaving the bytes of rows leaves four channels of each 16 together.
  static constexpr int64_t place(int64_t channel) {
    const int64_t in_block = channel % kBlock;
    return channel - in_block + in_block % 16 / 4 * 16 + in_block / 16 * 4 + in_block % 4;
  }
};

}  // namespace loopwright
