// Batch-reduce GEMM on one register tile: the building block of every dense operator.
//
//   C[mr, n] = epilogue(start + sum over blocks t < batch, p < k of A_t[mr, p] * B_t[p, n])
//   start    = C                                    if accumulate
//            = bias + residual + second_residual    otherwise; a null pointer counts as zero
//   epilogue is that of tile_epilogue.h, then PRelu if there are slopes
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
// Series: one call computes `count` tiles at constant steps from each other, which saves the overhead of a call per tile.
// count > 1 requires simple(), and n == nr or masks_are_free.
//
// Words are defined in words.h: one float, or for the dtype bfloat16 two bfloat16 that are consecutive in k, whose
// products are summed in float32. k, strides and prefetch distances count words, so nothing here depends on the dtype.
#pragma once

#include <algorithm>
#include <cstdint>

#include "loopwright/dtype.h"
#include "microkernels/tile_epilogue.h"

namespace loopwright {

struct BrgemmArgs {
  const float* const* a;
  const float* const* b;
  int64_t batch;
  int64_t k;
  int64_t a_stride;
  float* c;
  int64_t c_stride;
  Bfloat16* rounded = nullptr;  // bfloat16 only: stores C here, rounded to nearest even, instead of to c; or null
  int64_t rounded_stride = 0;
  int n;
  bool accumulate;
  const float* bias;
  const float* residual;
  // Replaces residual if the sum is one block: prefetched at the start of the tile and added at its end.
  const float* late_residual = nullptr;
  const Bfloat16* rounded_residual = nullptr;  // bfloat16 only: the same as late_residual, in place of it
  int64_t residual_stride = 0;
  const float* second_residual = nullptr;  // added together with the first, at the start or at the end
  int64_t second_residual_stride = 0;
  TileEpilogue epilogue;
  const float* slopes = nullptr;  // of the columns, by which negative numbers are multiplied; or null
  int64_t prefetch;               // prefetch distance of B into L1, in words; 0 disables it
  const float* next;              // data of a later call, prefetched into L2 during this one; or null
  int64_t next_step = 0;          // words of it to prefetch per step of k, at most a cache line
  int64_t count = 1;
  // Steps from tile to tile: of A, B and next in words; of C, the residuals, and bias and slopes in their elements.
  int64_t a_step = 0, b_step = 0, next_tile_step = 0, c_step = 0, residual_step = 0, second_residual_step = 0,
          bias_step = 0;
  int64_t rounded_step = 0;  // in bfloat16

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
