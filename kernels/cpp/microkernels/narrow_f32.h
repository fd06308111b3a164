// Register tiles that are narrower than a vector, for products with a few columns: MR rows, N < lanes columns, float32.
// Contract: brgemm.h, except for B.
//
//   B_t  packed: for every `lanes` steps of k, N vectors of that many weights of one column; zeros beyond k
//
// The lanes of a vector hold consecutive k, and each sum is the sum over its lanes. A wider tile would spend a vector of
// columns on N of them.
//
// Registers: MR*N sums, N of B, one of A. MR*N <= lanes, so that the finished sums fill one vector.
// Ports: `lanes` steps of k take MR*N FMAs and MR + N loads. The FMAs are the limit from two rows and two columns on.
// Latency: tiles with fewer than V::kInFlight sums keep copies of them, as those of brgemm_f32.h.
#pragma once

#include <cstdint>

#include "microkernels/activations_f32.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

template <class V, int MR, int N>
struct Narrow {
  using Reg = typename V::Reg;
  using Mask = typename V::Mask;
  static constexpr int kLanes = V::kLanes, kSums = MR * N;
  static constexpr int kChains = kSums >= V::kInFlight ? 1 : 2 * kSums >= V::kInFlight ? 2 : 4;
  static_assert(kSums <= kLanes && kChains * kSums + N + 1 <= V::kRegisters, "the tile does not fit the registers");

  static void run(const BrgemmArgs& args) {
    // The tile in one vector: lane i * N + j is row i, column j.
    const TileEpilogue& epilogue = args.epilogue;
    const Reg start = of_columns(epilogue.bias), slopes = of_columns(epilogue.slopes);
    float* c = args.c;
    int64_t a_offset = 0;
    for (int64_t tile = 0; tile < args.count; ++tile) {
      Reg y = V::add(start, sums(args, a_offset));
      if (args.accumulate) y = V::add(y, tile_of(c, args.c_stride));
      for (const TileResidual& each : epilogue.residuals)
        if (each.data) y = V::add(y, tile_of(static_cast<const float*>(each.data) + tile * each.step, each.stride));
      y = activated(y, epilogue.activation);
      store(epilogue.slopes ? Prelu::apply<V>(y, slopes) : y, c, args.c_stride);
      a_offset += args.a_step;
      c += args.c_step;
    }
  }

 private:
  // Returns the constant of each column in the lanes of the tile; zeros if it is null.
  static Reg of_columns(const float* constants) {
    float lanes[kLanes] = {};
    if (constants)
      for (int i = 0; i < kSums; ++i) lanes[i] = constants[i % N];
    return V::load(lanes);
  }

  static inline __attribute__((always_inline)) Reg sums(const BrgemmArgs& args, int64_t a_offset) {
    Reg acc[kChains][kLanes];
#pragma GCC unroll 4
    for (int s = 0; s < kChains; ++s)
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) acc[s][i] = V::zero();
    const int64_t blocks = args.k / kLanes, rest = args.k % kLanes;
    const Mask last = V::mask(static_cast<int>(rest));
    for (int64_t t = 0; t < args.batch; ++t) {
      const float *a = args.a[t] + a_offset, *b = args.b[t];
      int64_t block = blocks;
      for (; block >= kChains; block -= kChains, a += kChains * kLanes, b += kChains * N * kLanes)
#pragma GCC unroll 4
        for (int s = 0; s < kChains; ++s)
          step(acc[s], b + s * N * kLanes, [&](int i) { return V::load(a + s * kLanes + i * args.a_stride); });
      for (; block > 0; --block, a += kLanes, b += N * kLanes)
        step(acc[0], b, [&](int i) { return V::load(a + i * args.a_stride); });
      if (rest > 0) step(acc[0], b, [&](int i) { return V::load(a + i * args.a_stride, last); });
    }
#pragma GCC unroll 4
    for (int s = 1; s < kChains; ++s)
#pragma GCC unroll 16
      for (int i = 0; i < kSums; ++i) acc[0][i] = V::add(acc[0][i], acc[s][i]);
    return V::sums(acc[0]);
  }

  template <class LoadRow>
  static inline __attribute__((always_inline)) void step(Reg (&acc)[kLanes], const float* b, const LoadRow& row) {
    Reg columns[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) columns[j] = V::load(b + j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Reg x = row(i);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) V::accumulate(acc[i * N + j], x, columns[j]);
    }
  }

  // Returns MR rows of N floats as one vector.
  static Reg tile_of(const float* from, int64_t stride) {
    if (stride == N) return V::load(from, V::mask(kSums));
    float floats[kLanes] = {};
    for (int i = 0; i < MR; ++i)
      for (int j = 0; j < N; ++j) floats[i * N + j] = from[i * stride + j];
    return V::load(floats);
  }

  static void store(Reg y, float* c, int64_t stride) {
    if (stride == N) {
      if constexpr (kSums == kLanes) {
        V::store(c, y);
      } else {
        V::store(c, y, V::mask(kSums));
      }
      return;
    }
    float floats[kLanes];
    V::store(floats, y);
    for (int i = 0; i < MR; ++i)
      for (int j = 0; j < N; ++j) c[i * stride + j] = floats[i * N + j];
  }

  static Reg activated(Reg y, const TileActivation& activation) {
    y = V::min(V::set1(activation.hi), V::max(V::set1(activation.lo), y));  // NaN is the second operand, and passes
    return activation.hard_swish ? HardSwish::apply<V>(y) : y;
  }
};

// Adds the tiles of N columns with 1 to MR rows, then those of more columns, as far as the sums fill a vector.
template <class V, int N = 1, int MR = V::kLanes / N>
void add_narrow_tiles(KernelTable& kernels) {
  kernels.narrow_tiles[MR][N] = &Narrow<V, MR, N>::run;
  if constexpr (MR > 1) {
    add_narrow_tiles<V, N, MR - 1>(kernels);
  } else if constexpr (N < V::kLanes / 2) {
    add_narrow_tiles<V, N + 1>(kernels);
  }
}

}  // namespace
}  // namespace loopwright
