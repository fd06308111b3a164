// The only FMA loop for float32, templated over the vector type V, MR rows and NV vectors of columns (NR = NV * lanes),
// of whose last one kHalf computes the lower half alone, where no more is wanted: at half the price.
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

#include "microkernels/activations_f32.h"
#include "microkernels/kernel_table.h"
#include "microkernels/vector_access.h"

namespace loopwright {
namespace {

template <class V, int MR, int NV, bool kHalf>
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

  // A broadcast to a register takes a third of an FMA's slot (Zen 4), for which narrow tiles have no room; FMAs that read
  // the float from memory take a load each: so 28×16 reaches 98 instead of 74 % of the peak, 14×24 100 instead of 90.
  static constexpr bool kFromMemory = V::kHasHalves && 2 * NV - kHalf <= 3;

  // One step of k: C += A[:, p] * B[p, :]. Rows are reached from one base in every fifth row, because an address holds
  // base + {1, 2, 4} * stride or base + 1 * (3 * stride): 14 rows take three bases and two strides, not 14 registers.
  // kAhead: L1 asks for what comes in B's stream, which takes load slots that data in L2 anyway needs not pay for.
  template <bool kAhead>
  static inline __attribute__((always_inline)) void step(Reg (&acc)[MR][NV], const char* const (&base)[kBases],
                                                         int64_t stride, int64_t stride3, int p, const float* b,
                                                         const float* ahead) {
    Reg row[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      row[j] = V::load(b + j * V::kLanes);
      if (kAhead && j * V::kLanes % kCacheLine == 0) __builtin_prefetch(ahead + j * V::kLanes, 0, 3);
    }
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) {
      const int r = i % 5;
      const char* a = base[i / 5] + (r == 3 ? stride3 : r * stride);
      const float* x = reinterpret_cast<const float*>(a) + p;
      if constexpr (kFromMemory) {
        accumulate_row(acc[i], x, row);
      } else {
        accumulate_row(acc[i], V::set1(*x), row);
      }
    }
  }

  // One row's part of a step, of x in a register or in memory.
  template <class X>
  static inline __attribute__((always_inline)) void accumulate_row(Reg (&acc)[NV], X x, const Reg (&row)[NV]) {
#pragma GCC unroll 8
    for (int j = 0; j + 1 < NV; ++j) V::accumulate(acc[j], x, row[j]);
    if constexpr (kHalf) {
      V::accumulate_half(acc[NV - 1], x, row[NV - 1]);
    } else {
      V::accumulate(acc[NV - 1], x, row[NV - 1]);
    }
  }

  static void run(const BrgemmArgs& args) {
    if (!args.simple() || (!V::kMasksAreFree && args.n != kColumns)) return run_tile(args);
    if (args.k < kUnroll * MR) return run_series<false>(args);
    run_series<true>(args);
  }

 private:
  using Mask = typename V::Mask;

  // Without what simple tiles need not: on a short sum that takes as long as its FMAs.
  // kSpread: the lines of a tile are asked for a row in kUnroll steps. All at once they are more than L1 can wait for,
  // and the sum's own loads wait with them: 1×1 layers of k = 64 with a residual took a fifth longer.
  template <bool kSpread>
  static __attribute__((noinline)) void run_series(const BrgemmArgs& args) {
    const float *bias = args.bias, *residual = args.late_residual, *second_residual = args.second_residual,
                *next = args.next;
    const Mask last = V::mask(args.n - (NV - 1) * V::kLanes);
    float* c = args.c;
    int64_t a_offset = 0, b_offset = 0;
    for (int64_t tiles = args.count; tiles > 0; --tiles) {
      asm volatile("" ::: "memory");  // else GCC keeps what it reads of args in registers, and sums in memory
      Reg acc[kChains][MR][NV];
      Lines lines{c, args.c_stride, residual, args.residual_stride};
      if (second_residual) {  // which is far, where the first was written just before
        lines.residual = second_residual;
        lines.residual_stride = args.second_residual_stride;
      }
      if (!kSpread) lines.ask_all();
      start_with(acc[0], bias);
      start_other_chains(acc);
      if (!next) {
        reduce<false, Asks::kNever, kSpread>(acc, args, a_offset, b_offset, next, lines);
      } else if (kUnroll * args.next_step <= kCacheLine) {
        reduce<false, Asks::kAtTimes, kSpread>(acc, args, a_offset, b_offset, next, lines);
      } else {
        reduce<false, Asks::kInEachStep, kSpread>(acc, args, a_offset, b_offset, next, lines);
      }
      add_chains(acc);
      if (residual) {
        add_last(acc[0], residual, args.residual_stride, last);
        residual += args.residual_step;
      }
      if (second_residual) {
        add_last(acc[0], second_residual, args.second_residual_stride, last);
        second_residual += args.second_residual_step;
      }
      clamp(acc[0], args);
      store(acc[0], args.n, c, args.c_stride, last);
      a_offset += args.a_step;
      b_offset += args.b_step;
      c += args.c_step;
      if (bias) bias += args.bias_step;
      if (next) next += args.next_tile_step;
    }
  }

  static __attribute__((noinline)) void run_tile(const BrgemmArgs& args) {
    Reg acc[kChains][MR][NV];
    const Mask last = V::mask(args.n - (NV - 1) * V::kLanes);
    Lines lines{args.c, args.c_stride, args.late_residual, args.residual_stride};
    if (!args.accumulate) lines.ask_all();
    start(acc[0], args, last);
    start_other_chains(acc);

    if (args.prefetch == 0 && !args.next) {
      reduce<false, Asks::kNever, false>(acc, args, 0, 0, nullptr, lines);
    } else {
      reduce<true, Asks::kInEachStep, false>(acc, args, 0, 0, args.next, lines);
    }
    add_chains(acc);
    finish(acc[0], args, last);
  }

  // Lines that the finished tile reads or writes come while it is computed: where they lie in L3 or beyond, and k is
  // short, it would else wait for them.
  struct Lines {
    const float* c;
    int64_t c_stride;
    const float* residual;  // or null
    int64_t residual_stride;
    int rows = MR;  // still to be asked for

    template <int kWrite>
    static inline __attribute__((always_inline)) void ask(const float* row) {
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; j += kCacheLine) __builtin_prefetch(row + j, kWrite, 3);
    }

    inline __attribute__((always_inline)) void ask_row() {
      ask<1>(c);
      c += c_stride;
      if (residual) {
        ask<0>(residual);
        residual += residual_stride;
      }
      --rows;
    }

    inline __attribute__((always_inline)) void ask_all() const {
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) ask<1>(c + i * c_stride);
      if (!residual) return;
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) ask<0>(residual + i * residual_stride);
    }
  };

  // When L2 is asked for what comes next: in steps of k, or where little is to come once in kUnroll of them.
  enum class Asks { kNever, kAtTimes, kInEachStep };

  // The sum over the batch, of A and B that many words beside where args has them.
  template <bool kAhead, Asks kAsks, bool kSpread>
  static inline __attribute__((always_inline)) void reduce(Reg (&acc)[kChains][MR][NV], const BrgemmArgs& args,
                                                           int64_t a_offset, int64_t b_offset, const float* next,
                                                           Lines& lines) {
    const int64_t stride = args.a_stride * static_cast<int64_t>(sizeof(float)), stride3 = 3 * stride;  // bytes
    const int64_t next_step = next ? args.next_step : 0;
    const auto ask = [&](Asks when, int64_t steps) __attribute__((always_inline)) {
      if (kAsks != when) return;
      __builtin_prefetch(next, 0, 2);
      next += steps * next_step;
    };
    for (int64_t t = 0; t < args.batch; ++t) {
      const char* base[kBases];
#pragma GCC unroll 8
      for (int i = 0; i < kBases; ++i) base[i] = reinterpret_cast<const char*>(args.a[t] + a_offset) + 5 * i * stride;
      const float* b = args.b[t] + b_offset;
      const float* ahead = b + args.prefetch;
      int64_t p = args.k;
      for (; p >= kUnroll; p -= kUnroll) {
        ask(Asks::kAtTimes, kUnroll);
        if (kSpread && lines.rows > 0) lines.ask_row();
#pragma GCC unroll 4
        for (int u = 0; u < kUnroll; ++u) {
          ask(Asks::kInEachStep, 1);
          step<kAhead>(acc[u % kChains], base, stride, stride3, u, b + u * kColumns, ahead + u * kColumns);
        }
        b += kUnroll * kColumns;
        ahead += kUnroll * kColumns;
#pragma GCC unroll 8
        for (int i = 0; i < kBases; ++i) base[i] += kUnroll * sizeof(float);
      }
      ask(Asks::kAtTimes, p);
      for (; p > 0; --p) {
        ask(Asks::kInEachStep, 1);
        step<kAhead>(acc[0], base, stride, stride3, 0, b, ahead);
        b += kColumns;
        ahead += kColumns;
#pragma GCC unroll 8
        for (int i = 0; i < kBases; ++i) base[i] += sizeof(float);
      }
    }
  }

  static inline __attribute__((always_inline)) void start_other_chains(Reg (&acc)[kChains][MR][NV]) {
#pragma GCC unroll 4
    for (int s = 1; s < kChains; ++s)
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[s][i][j] = V::zero();
  }

  static inline __attribute__((always_inline)) void add_chains(Reg (&acc)[kChains][MR][NV]) {
#pragma GCC unroll 4
    for (int s = 1; s < kChains; ++s)
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[0][i][j] = V::add(acc[0][i][j], acc[s][i][j]);
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
    start_with(acc, args.bias);
    if (args.residual) add_rows(acc, args.residual, args.residual_stride, PartialVector<V>{last});
    if (args.second_residual && !args.late_residual)
      add_rows(acc, args.second_residual, args.second_residual_stride, PartialVector<V>{last});
  }

  static inline __attribute__((always_inline)) void start_with(Reg (&acc)[MR][NV], const float* bias) {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const Reg first = bias ? V::load(bias + j * V::kLanes) : V::zero();
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) acc[i][j] = first;
    }
  }

  // `last` is how the last column of vectors is read.
  template <class Access>
  static inline __attribute__((always_inline)) void add_rows(Reg (&acc)[MR][NV], const float* rows, int64_t row_stride,
                                                             const Access& last) {
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) {
      const float* row = rows + i * row_stride;
#pragma GCC unroll 8
      for (int j = 0; j + 1 < NV; ++j) acc[i][j] = V::add(acc[i][j], V::load(row + j * V::kLanes));
      acc[i][NV - 1] = V::add(acc[i][NV - 1], last.load(row + (NV - 1) * V::kLanes));
    }
  }

  // In a series, whose tiles are whole where masks cost something.
  static inline __attribute__((always_inline)) void add_last(Reg (&acc)[MR][NV], const float* rows, int64_t row_stride,
                                                             Mask last) {
    if constexpr (V::kMasksAreFree) {
      add_rows(acc, rows, row_stride, PartialVector<V>{last});
    } else {
      add_rows(acc, rows, row_stride, WholeVector<V>{});
    }
  }

  static inline __attribute__((always_inline)) Reg load_column(const float* row, int j, Mask last) {
    return j + 1 < NV ? V::load(row + j * V::kLanes) : V::load(row + j * V::kLanes, last);
  }

  static inline __attribute__((always_inline)) void finish(Reg (&acc)[MR][NV], const BrgemmArgs& args, Mask last) {
    if (args.late_residual) {
      add_rows(acc, args.late_residual, args.residual_stride, PartialVector<V>{last});
      if (args.second_residual)
        add_rows(acc, args.second_residual, args.second_residual_stride, PartialVector<V>{last});
    }
    clamp(acc, args);
    if constexpr (V::kProducts > 1) {
      if (args.rounded) return store_rounded(acc, args.rounded, args.rounded_stride, last);
    }
    store(acc, args.n, args.c, args.c_stride, last);
  }

  static inline __attribute__((always_inline)) void clamp(Reg (&acc)[MR][NV], const BrgemmArgs& args) {
    constexpr float kInfinity = __builtin_inff();
    if (args.lo > -kInfinity) {
      const Reg lo = V::set1(args.lo);
      apply(acc, [&](Reg x) { return V::max(lo, x); });
    }
    if (args.hi < kInfinity) {
      const Reg hi = V::set1(args.hi);
      apply(acc, [&](Reg x) { return V::min(hi, x); });
    }
    if (args.hard_swish) apply(acc, [&](Reg x) { return HardSwish::apply<V>(x); });
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
  // a hundred cycles a tile; of AVX-512's one starts in three cycles, where two whole ones could (Zen 4).
  static inline __attribute__((always_inline)) void store(Reg (&acc)[MR][NV], int n, float* c, int64_t stride,
                                                          Mask last) {
    if (n == kColumns) {
      store(acc, c, stride, WholeVector<V>{});
    } else {
      store(acc, c, stride, PartialVector<V>{last});
    }
  }

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
void add_tiles(KernelTable& kernels) {
  if constexpr (MR > 1) add_tiles<V, NV, MR - 1>(kernels);
  kernels.tiles[MR][NV] = &Brgemm<V, MR, NV, false>::run;
  // Of wider ones half a vector is little.
  if constexpr (V::kHasHalves && NV <= 3) kernels.half_tiles[MR][NV] = &Brgemm<V, MR, NV, true>::run;
}

}  // namespace
}  // namespace loopwright
