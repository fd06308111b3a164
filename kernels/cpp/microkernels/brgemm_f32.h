// The only FMA loop for float32, templated over the vector type V, MR rows and NV vectors of columns (NR = NV * lanes).
// Contract: include/loopwright/brgemm.h. Compiled once per ISA by f32_<isa>.cc.
//
// Registers: MR*NV accumulators, NV for a row of B, one for the broadcast of A: MR*NV + NV + 1 <= V::kRegisters.
// Ports: one step of k costs MR*NV FMAs and NV + MR loads. With two FMA and two load ports, the FMAs are the limit
// where
//   NV + MR <= MR*NV; the NV prefetches fit into what is left from 4x64, 8x48, 14x32 on.
// Latency: 4 cycles at two FMAs a cycle need 8 chains, 6 cycles (VDPBF16PS) need 12. A tile with fewer accumulators
// keeps
//   kChains copies of them, over which consecutive k are spread.
#pragma once

#include <xmmintrin.h>

#include "loopwright/brgemm.h"
#include "vector_access.h"

namespace loopwright {
namespace {

template <class V, int MR, int NV>
struct Brgemm {
  static constexpr int kRows = MR;
  static constexpr int kColumns = NV * V::kLanes;
  static constexpr int kCacheLine = 16;  // floats
  static constexpr int kUnroll = 4;
  static constexpr int kChains = MR * NV >= V::kInFlight ? 1 : 2 * MR * NV >= V::kInFlight ? 2 : 4;
  static constexpr int kRowRegisters = MR > 1 ? NV : 1;  // of a row of B: what is used once need not be kept
  static_assert(kChains * MR * NV + kRowRegisters + 1 <= V::kRegisters, "the tile does not fit the register file");

  using Reg = typename V::Reg;

  static constexpr int kBases = (MR + 4) / 5;

  // One step of k: C += A[:, p] * B[p, :]. Rows are reached from one base in every fifth row, because an address holds
  // base + {1, 2, 4} * stride or base + 1 * (3 * stride): 14 rows take three bases and two strides, not 14 registers.
  // kAsk: with prefetches, of B ahead of its stream and of what comes next; they take load slots, which data that is in
  // L2 anyway needs not pay for.
  template <bool kAsk>
  static inline __attribute__((always_inline)) void step(Reg (&acc)[MR][NV], const char* const (&base)[kBases],
                                                         int64_t stride, int64_t stride3, int p, const float* b,
                                                         const float* ahead, const float* next) {
    Reg row[NV];
    if (kAsk) _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      row[j] = V::load(b + j * V::kLanes);
      if (kAsk && j * V::kLanes % kCacheLine == 0)
        _mm_prefetch(reinterpret_cast<const char*>(ahead + j * V::kLanes), _MM_HINT_T0);
    }
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) {
      const int r = i % 5;
      const char* a = base[i / 5] + (r == 3 ? stride3 : r * stride);
      const Reg x = V::set1(reinterpret_cast<const float*>(a)[p]);
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) V::accumulate(acc[i][j], x, row[j]);
    }
  }

  static void run(const BrgemmArgs& args) {
    Reg acc[kChains][MR][NV];
    const Mask last = V::mask(args.n - (NV - 1) * V::kLanes);
    ask_for_output(args);
    start(acc[0], args, last);
#pragma GCC unroll 4
    for (int s = 1; s < kChains; ++s)
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[s][i][j] = V::zero();

    if (args.prefetch != 0 || args.next) {
      reduce<true>(acc, args);
    } else {
      reduce<false>(acc, args);
    }

#pragma GCC unroll 4
    for (int s = 1; s < kChains; ++s)
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[0][i][j] = V::add(acc[0][i][j], acc[s][i][j]);
    finish(acc[0], args, last);
  }

 private:
  using Mask = typename V::Mask;

  // The sum over the batch.
  template <bool kAsk>
  static inline __attribute__((always_inline)) void reduce(Reg (&acc)[kChains][MR][NV], const BrgemmArgs& args) {
    const int64_t stride = args.a_stride * static_cast<int64_t>(sizeof(float)), stride3 = 3 * stride;  // bytes
    for (int64_t t = 0; t < args.batch; ++t) {
      const char* base[kBases];
#pragma GCC unroll 8
      for (int i = 0; i < kBases; ++i) base[i] = reinterpret_cast<const char*>(args.a[t]) + 5 * i * stride;
      const float* b = args.b[t];
      const float* ahead = b + args.prefetch;
      // Without a next, the same line is asked for over and over, which is cheap.
      const int64_t next_step = args.next ? args.next_step : 0;
      const float* next = args.next ? args.next + t * args.k * next_step : b;
      int64_t p = args.k;
      for (; p >= kUnroll; p -= kUnroll) {
#pragma GCC unroll 4
        for (int u = 0; u < kUnroll; ++u)
          step<kAsk>(acc[u % kChains], base, stride, stride3, u, b + u * kColumns, ahead + u * kColumns,
                     next + u * next_step);
        b += kUnroll * kColumns;
        ahead += kUnroll * kColumns;
        next += kUnroll * next_step;
#pragma GCC unroll 8
        for (int i = 0; i < kBases; ++i) base[i] += kUnroll * sizeof(float);
      }
      for (; p > 0; --p) {
        step<kAsk>(acc[0], base, stride, stride3, 0, b, ahead, next);
        b += kColumns;
        ahead += kColumns;
        next += next_step;
#pragma GCC unroll 8
        for (int i = 0; i < kBases; ++i) base[i] += sizeof(float);
      }
    }
  }

  // Lines that the finished tile reads and writes come while it is computed. Where they lie in L3 or beyond, and k is
  // short, stores would else wait for them.
  static inline __attribute__((always_inline)) void ask_for_output(const BrgemmArgs& args) {
    if (args.accumulate) return;
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; j += kCacheLine) __builtin_prefetch(args.c + i * args.c_stride + j, 1, 3);
    if (!args.late_residual) return;
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; j += kCacheLine)
        __builtin_prefetch(args.late_residual + i * args.residual_stride + j, 0, 3);
  }

  // What is added to the sum starts it: loading an accumulator costs a load port, adding to one costs an FMA port.
  static inline __attribute__((always_inline)) void start(Reg (&acc)[MR][NV], const BrgemmArgs& args, Mask last) {
    if (args.accumulate) {
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[i][j] = load_column(args.c + i * args.c_stride, j, last);
      return;
    }
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const Reg bias = args.bias ? V::load(args.bias + j * V::kLanes) : V::zero();
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) acc[i][j] = bias;
    }
    if (!args.residual) return;
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j)
        acc[i][j] = V::add(acc[i][j], load_column(args.residual + i * args.residual_stride, j, last));
  }

  static inline __attribute__((always_inline)) Reg load_column(const float* row, int j, Mask last) {
    return j + 1 < NV ? V::load(row + j * V::kLanes) : V::load(row + j * V::kLanes, last);
  }

  static inline __attribute__((always_inline)) void finish(Reg (&acc)[MR][NV], const BrgemmArgs& args, Mask last) {
    constexpr float kInfinity = __builtin_inff();
    if (args.late_residual) {
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j)
          acc[i][j] = V::add(acc[i][j], load_column(args.late_residual + i * args.residual_stride, j, last));
    }
    if (args.lo > -kInfinity) {
      const Reg lo = V::set1(args.lo);
      apply(acc, [&](Reg x) { return V::max(lo, x); });
    }
    if (args.hi < kInfinity) {
      const Reg hi = V::set1(args.hi);
      apply(acc, [&](Reg x) { return V::min(hi, x); });
    }
    if constexpr (V::kProducts > 1) {
      if (args.rounded) return store_rounded(acc, args.rounded, args.rounded_stride, last);
    }
    if (args.n == kColumns) {
      store(acc, args.c, args.c_stride, WholeVector<V>{});
    } else {
      store(acc, args.c, args.c_stride, PartialVector<V>{last});
    }
  }

  // Two vectors at a time make a whole register of bfloat16.
  static inline __attribute__((always_inline)) void store_rounded(Reg (&acc)[MR][NV], Bfloat16* c, int64_t stride,
                                                                  Mask last) {
    constexpr int kPairs = (NV - 1) / 2;  // all but the last one or two vectors
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) {
      Bfloat16* row = c + i * stride;
#pragma GCC unroll 4
      for (int j = 0; j < kPairs; ++j) V::store(row + 2 * j * V::kLanes, acc[i][2 * j], acc[i][2 * j + 1]);
      if constexpr (NV % 2 == 0) {
        V::store(row + (NV - 2) * V::kLanes, acc[i][NV - 2], acc[i][NV - 1], last);
      } else {
        V::store(row + (NV - 1) * V::kLanes, acc[i][NV - 1], last);
      }
    }
  }

  // A masked store is no simple one everywhere: on Zen 3 it takes 42 micro-operations, which six rows pay with more than
  // a hundred cycles a tile.
  template <class Access>
  static inline __attribute__((always_inline)) void store(Reg (&acc)[MR][NV], float* c, int64_t stride,
                                                          const Access& last) {
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) {
      float* row = c + i * stride;
#pragma GCC unroll 8
      for (int j = 0; j + 1 < NV; ++j) V::store(row + j * V::kLanes, acc[i][j]);
      last.store(row + (NV - 1) * V::kLanes, acc[i][NV - 1]);
    }
  }

  template <class F>
  static inline __attribute__((always_inline)) void apply(Reg (&acc)[MR][NV], const F& f) {
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[i][j] = f(acc[i][j]);
  }
};

// Table lines for MR = 1..max of one NV.
template <class V, int NV, int MR>
void add_tiles(F32Kernels& kernels) {
  if constexpr (MR > 1) add_tiles<V, NV, MR - 1>(kernels);
  kernels.tiles[MR][NV] = &Brgemm<V, MR, NV>::run;
}

}  // namespace
}  // namespace loopwright
