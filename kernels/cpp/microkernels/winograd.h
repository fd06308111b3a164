// Winograd's minimal filtering F(m×m, r×r): the transforms, one tile and a vector of channels at a time.
//
//   y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A      d t×t of the image, g r×r, y m×m, t = m + r - 1
//
// t² multiplications give m² outputs that take r² m² directly: 4/9 of them for F(2×2, 3×3), 1/4 for F(4×4, 3×3) and
// F(3×3, 4×4). Summed over channels, each of the t² places ξ is a matrix product of its own.
// (Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, 2015.)
//
// The matrices follow from t - 1 points at which the polynomials of d and g are evaluated, and infinity: 0, ±1 for t =
// 4 and 0, ±5/8, ±3/2 for t = 6. The usual 0, ±1, ±2 err twice as much (root mean square; four times at worst), and
// these points' squares and products are exact in float32 too.
#pragma once

#include <cstdint>

namespace loopwright {

// Bᵀ d B for `c` channels of one tile. Row i, column j of d is at d + i * row_stride + j * pixel_stride, `c` floats
// each; place ξ = i * t + j of the result goes to v + ξ * place_stride.
struct WinogradInput {
  const float* d;
  int64_t row_stride, pixel_stride;
  int64_t c;
  float* v;
  int64_t place_stride;
  const float* next;  // the next tile's d, for which L1 asks on the way; never read
  int64_t next_row_stride;
};

// clamp(Aᵀ M A + bias + residual, lo, hi) for `n` output channels of one tile, of whose m×m outputs the first `rows`
// rows and `columns` columns lie in the image. Place ξ of M is at m + ξ * place_stride, whole vectors readable. The
// output (i, j) is at y + i * row_stride + j * pixel_stride; the residual has the same strides and may be y itself;
// bias and residual are absent where null. Whole vectors of the bias are readable.
struct WinogradOutput {
  const float* m;
  int64_t place_stride;
  float* y;
  int64_t row_stride, pixel_stride;
  int rows, columns, n;
  const float* bias;
  const float* residual;
  float lo, hi;
  const float* next;  // the next tile's y, likewise; of the same strides
};

struct WinogradFunctions {
  void (*input)(const WinogradInput&) = nullptr;
  void (*output)(const WinogradOutput&) = nullptr;
};

// The points that are not infinite, in the order of the places.
constexpr double kWinogradPoints4[] = {0.0, 1.0, -1.0};
constexpr double kWinogradPoints6[] = {0.0, 0.625, -0.625, 1.5, -1.5};

}  // namespace loopwright
