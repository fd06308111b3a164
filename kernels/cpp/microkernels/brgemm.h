// Batch-reduce GEMM on one register tile: the building block of every dense operator.
//
//   C[mr, n] = epilogue(start + sum over blocks t < batch, p < k of A_t[mr, p] * B_t[p, n])
//   start    = C if accumulate, otherwise 0
//   epilogue is that of tile_epilogue.h
//
// A microkernel is described by the ISA and the dtype of its table, which fix the types of A, B and the sum; by its register tile
// mr x nr; and by the elements of k in a word, KernelTable::tile_k:
//   float32   sums of float32
//   bfloat16  sums of float32; C and residuals are float32 or bfloat16
//   int8      sums of int32; C and residuals are float32 or 8-bit integers, or C is the sum
//
// The accumulators stay in registers for the whole batch, so C is loaded and stored once. A convolution passes one block
// per kernel tap, a dense layer one block in all. (Georganas et al., High-Performance Deep Learning via a Single Building
// Block, 2019.)
//
// Tile contract:
//   A_t  mr rows of k consecutive words, read in place. Row i is at a[t] + i * a_stride.
//   B_t  packed: k rows of exactly nr words without gaps, zeros in the columns from n on. Any alignment.
//   C    mr rows. Row i is at c + i * c_stride. Columns n to nr - 1 are neither read nor written.
//   residuals have the shape of C and their own strides, and may be C itself.
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

struct BrgemmArgs {
  const float* const* a;
  const float* const* b;
  int64_t batch;
  int64_t k;
  int64_t a_stride;
  const int32_t* a_offsets = nullptr;  // of the words of A, in words; null: they are consecutive
  int64_t a_run = 1;
  float* c;  // where the sum starts if accumulate, and where y is stored unless it is narrow
  int64_t c_stride;
  int n;
  bool accumulate;
  TileEpilogue epilogue;
  int64_t prefetch;       // prefetch distance of B into L1, in words; 0 disables it
  const float* next;      // data of a later call, prefetched into L2 during this one; or null
  int64_t next_step = 0;  // words of it to prefetch per step of k, at most a cache line
  int64_t count = 1;
  // Steps from tile to tile: of A, B and next in words, of C in floats. Those of the epilogue are there.
  int64_t a_step = 0, b_step = 0, next_tile_step = 0, c_step = 0;

  // Whether these are complete sums and B needs no prefetch into L1.
  bool simple() const { return !accumulate && !epilogue.residuals_first && prefetch == 0; }
};

// Returns the next_step that spreads the prefetch of `words` words evenly over `steps` steps of k. Prefetching faster
// fills the core's miss buffers, which delays the loads of the sum, and then leaves memory idle.
inline int64_t even_step(int64_t words, int64_t steps) {
  constexpr int64_t kLineWords = 16;
  return std::min(kLineWords, (words + steps - 1) / steps);
}

using Microkernel = void (*)(const BrgemmArgs&);

}  // namespace loopwright
