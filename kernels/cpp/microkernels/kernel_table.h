// The microkernels of one ISA for layers of one dtype, as a table of function pointers.
#pragma once

#include <cstdint>

#include "loopwright/activation.h"
#include "loopwright/dtype.h"
#include "loopwright/isa.h"
#include "loopwright/rowwise.h"
#include "microkernels/attention_weights.h"
#include "microkernels/block_weights.h"
#include "microkernels/brgemm.h"
#include "microkernels/channel_moments.h"
#include "microkernels/depthwise.h"
#include "microkernels/integer_depthwise.h"
#include "microkernels/integer_rows.h"
#include "microkernels/integer_winograd.h"
#include "microkernels/planes.h"
#include "microkernels/pool_row.h"
#include "microkernels/recurrent.h"
#include "microkernels/sums.h"
#include "microkernels/winograd.h"

namespace loopwright {

// Applies a function to `rows` rows of n floats, in place. Rows are c_stride floats apart.
using ActivationFunction = void (*)(float* c, int64_t c_stride, int rows, int n, const float* slopes);

using RowFunction = void (*)(const RowArgs&);

// Sums become float32 for every dtype, and the functions that process them are those of float32. The table of kReference has no register
// tiles: its operators are plain loops. Members are plain arrays, because the files that fill in a table are compiled for
// their ISA: the linker could keep their copy of a standard library template for every CPU.
struct KernelTable {
  static constexpr int kMaxRows = 28, kMaxVectors = 8;
  int lanes = 1;
  int tile_k = 1;     // elements of k in a word of A and B (gemm/words.h)
  int word_fmas = 1;  // FMAs, or instructions that take as long, for the products of a word with a vector of words
  Microkernel tiles[kMaxRows + 1][kMaxVectors + 1] = {};  // by rows and vectors of columns; null: no such tile
  // The same for tiles that need only the lower half of their last vector; null where that saves nothing.
  Microkernel half_tiles[kMaxRows + 1][kMaxVectors + 1] = {};
  // Tiles that are narrower than a vector (microkernels/narrow_f32.h), by rows and columns; null: no such tile.
  static constexpr int kMaxNarrowRows = 16, kMaxNarrowColumns = 8;
  Microkernel narrow_tiles[kMaxNarrowRows + 1][kMaxNarrowColumns + 1] = {};
  // The activations that are not a clamp, for a finished tile that is still in L1; null where a clamp is enough.
  ActivationFunction activation(Activation a) const { return activations[static_cast<int>(a)]; }
  ActivationFunction activations[kActivationCount] = {};
  // Transforms of Winograd's F(2×2, 3×3), F(3×3, 4×4) and F(4×4, 3×3).
  WinogradFunctions winograd2, winograd3, winograd4;
  DepthwiseFunctions depthwise;
  // By whether the image and the output are bfloat16; the residual may be. Empty unless the dtype is bfloat16.
  DepthwiseFunctions narrow_depthwise[2][2];
  AttentionWeightsFunction attention_weights = nullptr;
  PoolFunctions pool;
  PlaneFunctions planes;
  ClampedSumFunction clamped_sum = nullptr;
  StrassenSumsFunction strassen_sums = nullptr;
  RowFunction rows[kRowOperatorCount] = {};
  ChannelFunctions channels;
  RecurrentFunctions recurrent;
  // to[p, j] = from[j, p] for j < rows, p < columns. Rows of `to` are padded with zeros to whole vectors. Strides are in
  // floats from row to row.
  void (*transpose)(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to,
                    int64_t to_stride) = nullptr;
  BlockWeightTable block_weights;
  IntegerRowFunctions integer_rows;  // null unless the dtype is int8
  IntegerDepthwiseFunctions integer_depthwise;
  IntegerWinogradFunctions integer_winograd;
  // Convert rows of n elements from bfloat16 to float32 and back (to nearest, ties to even). Strides are in elements.
  // Null unless the dtype is bfloat16.
  void (*widen)(const Bfloat16* from, int64_t from_stride, float* to, int64_t to_stride, int rows, int n) = nullptr;
  void (*narrow)(const float* from, int64_t from_stride, Bfloat16* to, int64_t to_stride, int rows, int n) = nullptr;
  // Converts pixels without gaps to bfloat16, with a zero after the channels of each, which are an odd number below half of the lanes.
  // Null if pixels are converted one by one.
  void (*narrow_pixels)(const float* from, int64_t pixels, int channels, Bfloat16* to) = nullptr;
  // Measure the machine: FMAs on independent registers (returns the number of floating-point operations), and sums that
  // read `count` floats in several ways, of which each level of the memory has another fastest one. All null, or none.
  double (*fma_loop)(int64_t iterations) = nullptr;
  static constexpr int kReadSums = 3;
  float (*read_sums[kReadSums])(const float* data, int64_t count) = {};

  // Returns the microkernel of a tile that needs n columns, without vectors one that is narrower than a vector. The tile
  // must exist.
  Microkernel tile(int rows, int vectors, int n) const {
    if (vectors == 0) return narrow_tiles[rows][n];
    const Microkernel half = half_tiles[rows][vectors];
    return half && n <= vectors * lanes - lanes / 2 ? half : tiles[rows][vectors];
  }
  void clear_tiles();
  // Returns null if the ISA has no such tile. For checks; loops index `tiles`, which needs no division.
  Microkernel find(int mr, int nr) const;
  // Returns the largest mr of a tile of this nr, or 0.
  int max_mr(int nr) const;
  // Whether tiles of this nr are narrower than a vector.
  bool is_narrow(int nr) const { return nr < lanes; }
};

// Returns the table of an ISA that this CPU has, for a dtype that check_dtype() accepts.
const KernelTable& kernel_table(Isa isa, Dtype dtype = Dtype::kFloat32);

// One function per file of microkernels/{reference,x86} that fills in a table. `halves`: whether it has half_tiles.
const KernelTable& f32_reference_kernels();
const KernelTable& int8_reference_kernels();
const KernelTable& f32_avx2_kernels();
const KernelTable& f32_avx512_kernels(bool halves);
const KernelTable& bf16_avx2_kernels();
const KernelTable& bf16_avx512_kernels(bool halves);
const KernelTable& int8_avx2_kernels();
const KernelTable& int8_avx512_kernels(bool halves);

}  // namespace loopwright
