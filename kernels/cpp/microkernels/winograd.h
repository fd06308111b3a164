// The transforms of Winograd's minimal filtering F(m×m, r×r).
//
//   y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A      d t×t of the image, g r×r, y m×m, t = m + r - 1
//
// t² multiplications compute m² outputs, instead of r² m² for the direct sum: 4/9 of them for F(2×2, 3×3), 1/4 for
// F(4×4, 3×3) and F(3×3, 4×4). Summed over channels, each of the t² places ξ is a separate matrix product.
// (Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, 2015.)
//
// The matrices follow from t - 1 points at which the polynomials of d and g are evaluated, and infinity. The points are
// 0, ±1 for t = 4 and 0, ±5/8, ±3/2 for t = 6. The usual points 0, ±1, ±2 have twice the error (root mean square; four
// times at worst). The squares and products of these points are exact in float32.
#pragma once

#include <cstdint>

namespace loopwright {

constexpr int kWinogradPadding = 8;  // floats

// Computes Bᵀ d B for `c` channels of one tile. Row i, column j of d has `c` floats at d + i * row_stride + j *
// pixel_stride. Place ξ = i * t + j of the result is stored at v + ξ * place_stride. Floats behind the last channel, up to a
// multiple of kWinogradPadding, may become zeros.
struct WinogradInput {
  const float* d;
  int64_t row_stride, pixel_stride;
  int64_t c;
  float* v;
  int64_t place_stride;
  const float* next;  // d of the next tile, which is prefetched into L1
  int64_t next_row_stride, next_pixel_stride;
};

// Computes clamp(Aᵀ M A + bias + residual, lo, hi), then PRelu if there are slopes, for `n` output channels of one tile. The
// first `rows` rows and `columns` columns of its m×m outputs are inside the image. Place ξ of M is at m + ξ * place_stride;
// full vectors must be readable.
// Output (i, j) is at y + i * row_stride + j * pixel_stride. The residual has the same strides and may be y itself. Bias
// and residual count as zero if null. Full vectors of bias and slopes must be readable.
struct WinogradOutput {
  const float* m;
  int64_t place_stride;
  float* y;
  int64_t row_stride, pixel_stride;
  int rows, columns, n;
  const float* bias;
  const float* residual;
  float lo, hi;
  const float* slopes;  // or null
  const float* next;    // y of the next tile, which is prefetched into L1; same strides
};

struct WinogradFunctions {
  void (*input)(const WinogradInput&) = nullptr;
  void (*output)(const WinogradOutput&) = nullptr;
};

// The finite points, in the order of the places.
constexpr double kWinogradPoints4[] = {0.0, 1.0, -1.0};
constexpr double kWinogradPoints6[] = {0.0, 0.625, -0.625, 1.5, -1.5};

}  // namespace loopwright
