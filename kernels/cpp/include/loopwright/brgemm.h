// The building block of every dense operator: a batch-reduce GEMM on one register tile.
//
//   C[mr, n] = clamp(start + sum over blocks t < batch, p < k of A_t[mr, p] * B_t[p, n], lo, hi), or its hard_swish
//   start    = C                 where accumulate
//            = bias + residual + also   else, each of them absent where its pointer is null
//
// The accumulators stay in registers over the whole batch, so that C is touched once. A convolution gives one block a
// kernel tap, a dense layer one block altogether. (Georganas et al., High-Performance Deep Learning via a Single
// Building Block, 2019.)
//
// Tile contract:
//   A_t  mr rows, row i at a[t] + i * a_stride, k consecutive words each; read in place.
//   B_t  packed: k rows of exactly nr words without gaps, zeros beyond column n; any alignment.
//   C    mr rows, row i at c + i * c_stride; columns n..nr-1 are neither read nor written.
//   bias nr floats readable; residual as C, with its own stride, and may be C itself.
//   nr - lanes < n <= nr.
// NaN passes through: clamp(NaN) is NaN.
//
// Series: a call computes `count` tiles, each some steps beside the one before, and saves what a call costs. More than
// one only where simple() holds and n == nr or masks_are_free.
//
// Words are those of words.h: a float each, or for the dtype bfloat16 two bfloat16 of consecutive k, whose products are
// summed in float32. k, strides and prefetch count words, so that nothing here depends on the dtype.
#pragma once

#include <algorithm>
#include <cstdint>

#include "loopwright/depthwise_kernels.h"
#include "loopwright/dtype.h"
#include "loopwright/elementwise.h"
#include "loopwright/isa.h"
#include "loopwright/layer_norm.h"
#include "loopwright/pool_row.h"
#include "loopwright/softmax.h"
#include "loopwright/winograd.h"

namespace loopwright {

struct BrgemmArgs {
  const float* const* a;
  const float* const* b;
  int64_t batch;
  int64_t k;
  int64_t a_stride;
  float* c;
  int64_t c_stride;
  Bfloat16* rounded = nullptr;  // only for bfloat16: where C goes, rounded to nearest even, instead of to c; or null
  int64_t rounded_stride = 0;
  int n;
  bool accumulate;
  const float* bias;
  const float* residual;
  const float* late_residual = nullptr;  // in its place, where the sum is one block: added last, asked for first
  int64_t residual_stride;
  const float* also = nullptr;  // another residual, added last where the first is
  int64_t also_stride = 0;
  float lo, hi;
  bool hard_swish = false;  // x clamp(x + 3, 0, 6) / 6 after the clamp
  int64_t prefetch;         // words ahead of B's stream that L1 asks for; 0 asks for nothing
  const float* next;        // what a later call will read, for which L2 asks while this one runs; or null
  int64_t next_step = 0;    // words of it for which a step of k asks; at most a cache line
  int64_t count = 1;
  // From a tile to the next: in words of A, of B and of what comes next, in floats of C, of the residuals and of the bias.
  int64_t a_step = 0, b_step = 0, next_tile_step = 0, c_step = 0, residual_step = 0, also_step = 0, bias_step = 0;

  // Tiles of whole sums, of float32, whose B is near.
  bool simple() const { return !accumulate && !residual && !rounded && prefetch == 0; }
};

// The next_step with which calls of `steps` steps in all ask for `words`, so that memory is asked all the time for a
// little: asked for at once, it would keep the loads waiting that the sum needs, and then be idle.
inline int64_t even_step(int64_t words, int64_t steps) {
  constexpr int64_t kLineWords = 16;
  return std::min(kLineWords, (words + steps - 1) / steps);
}

using Microkernel = void (*)(const BrgemmArgs&);
using RowsFunction = void (*)(float* c, int64_t c_stride, int rows, int n);

enum class Activation { kNone, kRelu, kRelu6, kGelu, kSigmoid, kTanh, kSilu, kHardSwish };

// All that one ISA offers for one dtype; sums are float32, and so is what a tile writes. kReference has no register
// tiles: its operators are plain loops. Plain arrays, because the files that fill it in are compiled for their ISA, and
// a template of the standard library instantiated there could be the copy that the linker keeps for every CPU.
struct F32Kernels {
  static constexpr int kMaxRows = 28, kMaxVectors = 8;
  int lanes = 1;
  bool masks_are_free = false;  // whether part of a vector is written about as fast as all of it
  Microkernel tiles[kMaxRows + 1][kMaxVectors + 1] = {};  // by rows and vectors of columns; null where there is none
  // The same for tiles of which no more is wanted than the lower half of the last vector; null where that saves nothing.
  Microkernel half_tiles[kMaxRows + 1][kMaxVectors + 1] = {};
  // The activations that are no clamp, applied to a finished tile while it is in L1; null where a clamp does it.
  RowsFunction activation(Activation a) const { return activations[static_cast<int>(a)]; }
  RowsFunction activations[8] = {};
  // Transforms of Winograd's F(2×2, 3×3), F(3×3, 4×4) and F(4×4, 3×3).
  WinogradFunctions winograd2, winograd3, winograd4;
  DepthwiseFunctions depthwise;
  SoftmaxFunction softmax_rows = nullptr;  // null in the reference
  PoolFunctions pool;
  ClampedSumFunction clamped_sum = nullptr;
  StrassenSumsFunction strassen_sums = nullptr;
  LayerNormFunction layer_norm_rows = nullptr;
  // to[p, j] = from[j, p] for j < rows, p < columns, rows of `to` filled up with zeros to whole vectors. Strides in
  // floats from row to row.
  void (*transpose)(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to,
                    int64_t to_stride) = nullptr;
  // Rows of bfloat16 to float32 and back (to nearest, ties to even), n elements each; strides in elements. Only where
  // the dtype is bfloat16.
  void (*widen)(const Bfloat16* from, int64_t from_stride, float* to, int64_t to_stride, int rows, int n) = nullptr;
  void (*narrow)(const float* from, int64_t from_stride, Bfloat16* to, int64_t to_stride, int rows, int n) = nullptr;
  // For measuring the machine: FMAs on independent registers (returns floating-point operations done), and a sum that
  // reads `count` floats.
  double (*fma_loop)(int64_t iterations) = nullptr;
  float (*read_sum)(const float* data, int64_t count) = nullptr;

  // What computes a tile of which n columns are wanted; there must be one.
  Microkernel tile(int rows, int vectors, int n) const {
    const Microkernel half = half_tiles[rows][vectors];
    return half && n <= vectors * lanes - lanes / 2 ? half : tiles[rows][vectors];
  }
  // Null where the ISA has no such tile. For checks; loops index `tiles`, which needs no division.
  Microkernel find(int mr, int nr) const;
  // Largest mr with a microkernel of this nr; 0 where there is none.
  int max_mr(int nr) const;
};

// `isa` has the dtype, as check_dtype() tells.
const F32Kernels& f32_kernels(Isa isa, Dtype dtype = Dtype::kFloat32);
const F32Kernels& f32_kernels_avx512();
const F32Kernels& f32_kernels_avx2();
const F32Kernels& f32_kernels_reference();
const F32Kernels& bf16_kernels_avx512();

}  // namespace loopwright
