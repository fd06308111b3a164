// Batch-reduce GEMM on one register tile: the building block of every dense operator.
//
//   C[mr, n] = epilogue(start + sum over blocks t < batch, p < k of A_t[mr, p] * B_t[p, n])
//   start    = C                                    if accumulate
//            = bias + residual + second_residual    otherwise; a null pointer counts as zero
//   epilogue is that of tile_epilogue.h, then PRelu if there are slopes
//   int8:    the sum is in int32, and C = epilogue(sum * (scales * x_scale) + bias + late or rounded residual); without a
//            quantization, C is the sum in int32
//
// The accumulators stay in registers for the whole batch, so C is loaded and stored once. A convolution passes one block
// per kernel tap, a dense layer one block in all. (Georganas et al., High-Performance Deep Learning via a Single Building
// Block, 2019.)
//
// Tile contract:
//   A_t  mr rows of k consecutive words, read in place. Row i is at a[t] + i * a_stride.
//   B_t  packed: k rows of exactly nr words without gaps, zeros in the columns from n on. Any alignment.
//   C    mr rows. Row i is at c + i * c_stride. Columns n to nr - 1 are neither read nor written.
//   bias, slopes  nr readable floats each. The residuals have the shape of C and their own strides, and may be C itself.
//   nr - lanes < n <= nr.
// NaN passes through.
//
// Steps of k apart: with a_offsets, A is one block, and word p of row i is at a[0] + a_offsets[p] + i * a_stride. The kernel rows
// of first layers and the taps of grouped convolutions have few words each, and starting a block takes as long as the FMAs of
// several words. Each a_run words from p = 0 on are consecutive, and k is a multiple of a_run. float32 only, and requires simple().
//
// Series: one call computes `count` tiles at constant steps from each other, which saves the overhead of a call per tile.
// count > 1 requires simple().
//
// Words are defined in words.h: one float, or the elements of another dtype that are consecutive in k, whose products are
// summed in one lane. k, strides and prefetch distances count words, so nothing here depends on the dtype.
#pragma once

#include <algorithm>
#include <cstdint>

#include "microkernels/tile_epilogue.h"

namespace loopwright {

// How the tiles of an int8 layer convert sums, and the integers of the rounded C and of the rounded residual. Signed integers are
// taken as unsigned ones: XOR with the sign byte converts them (Quantization::sign_byte).
struct TileQuantization {
  float x_scale = 1.0f;      // a factor of all scales
  int32_t x_zero_point = 0;  // of the bytes of A
  uint8_t c_sign = 0, residual_sign = 0;
  float steps = 1.0f;            // of C per unit: the inverse of its scale
  float lo = 0.0f, hi = 255.0f;  // the limits of C, without its zero point
  int32_t zero_point = 0;        // of C
  float residual_scale = 1.0f;
  int32_t residual_zero_point = 0;
};

struct BrgemmArgs {
  const float* const* a;
  const float* const* b;
  int64_t batch;
  int64_t k;
  int64_t a_stride;
  const int32_t* a_offsets = nullptr;  // of the words of A, in words; null: they are consecutive
  int64_t a_run = 1;
  float* c;
  int64_t c_stride;
  // bfloat16 and int8 only: stores C here, rounded to nearest even, instead of to c; or null. Of bfloat16, or of 8-bit integers.
  void* rounded = nullptr;
  int64_t rounded_stride = 0;
  int n;
  bool accumulate;
  const float* bias;
  const float* residual;
  // Replaces residual if the sum is one block: prefetched at the start of the tile and added at its end.
  const float* late_residual = nullptr;
  const void* rounded_residual = nullptr;  // the same as late_residual, in place of it, of bfloat16 or 8-bit integers
  int64_t residual_stride = 0;
  const float* second_residual = nullptr;  // added together with the first, at the start or at the end
  int64_t second_residual_stride = 0;
  TileEpilogue epilogue;
  const float* slopes = nullptr;                   // of the columns, by which negative numbers are multiplied; or null
  const float* scales = nullptr;                   // int8 only: of the columns
  const int32_t* weight_sums = nullptr;            // of the columns of B, if words of A are bytes with their zero point
  const TileQuantization* quantization = nullptr;  // int8 only; null stores sums
  int64_t prefetch;                                // prefetch distance of B into L1, in words; 0 disables it
  const float* next;                               // data of a later call, prefetched into L2 during this one; or null
  int64_t next_step = 0;                           // words of it to prefetch per step of k, at most a cache line
  int64_t count = 1;
  // Steps from tile to tile: of A, B and next in words; of C, the residuals, and what columns have in their elements.
  int64_t a_step = 0, b_step = 0, next_tile_step = 0, c_step = 0, residual_step = 0, second_residual_step = 0,
          bias_step = 0;
  int64_t rounded_step = 0;

  // Whether these are complete sums and B needs no prefetch into L1.
  bool simple() const { return !accumulate && !residual && prefetch == 0; }
};

// Returns the next_step that spreads the prefetch of `words` words evenly over `steps` steps of k. Prefetching faster
// fills the core's miss buffers, which delays the loads of the sum, and then leaves memory idle.
inline int64_t even_step(int64_t words, int64_t steps) {
  constexpr int64_t kLineWords = 16;
  return std::min(kLineWords, (words + steps - 1) / steps);
}

using Microkernel = void (*)(const BrgemmArgs&);

}  // namespace loopwright
