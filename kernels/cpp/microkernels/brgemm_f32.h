// The only loop of products (contract: brgemm.h), templated over the vector type V, MR rows and NV vectors of columns:
// NR = NV * lanes. kHalf computes only the lower half of the last vector, at half the cost, for tiles that need no more.
// Compiled once per ISA and dtype. Registers of words and of sums have the type of a register of floats: V::accumulate and
// V::add_sums interpret them.
//
// Registers: MR*NV accumulators, NV for a row of B, one for the broadcast of A: MR*NV + NV + 1 <= V::kRegisters.
// Ports: one step of k takes MR*NV FMAs and NV + MR loads. With two FMA ports and two load ports, the FMAs are the limit if
//   NV + MR <= MR*NV. From 4x64, 8x48 and 14x32 on, the load ports have room for NV prefetches too.
// Latency: 4 cycles at two FMAs per cycle require 8 independent chains, 6 cycles (VDPBF16PS) require 12. A tile with fewer
//   accumulators keeps kChains copies of them and spreads consecutive k over the copies.
#pragma once

#include "microkernels/activations_f32.h"
#include "microkernels/kernel_table.h"
#include "microkernels/rounded_sum.h"
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
  static constexpr int kRowRegisters = MR > 1 ? NV : 1;  // for a row of B; a single row of A uses each vector once
  static_assert(kChains * MR * NV + kRowRegisters + 1 <= V::kRegisters, "the tile does not fit the register file");

  using Reg = typename V::Reg;
  using Narrow = typename V::Narrow;  // the other type that C and the residual may have; void: none

  static constexpr int kBases = (MR + 4) / 5;

  // Whether FMAs read the float of A from memory. A broadcast to a register takes a third of the slot of an FMA (Zen 4),
  // for which narrow tiles have no room. With FMAs that read memory, 28×16 reaches 98 % of the peak instead of 74 %, and
  // 14×24 100 % instead of 90 %.
  static constexpr bool kFromMemory = V::kHasHalves && !V::kIntegers && 2 * NV - kHalf <= 3;

  // One step of k: C += A[:, p] * B[p, :]. Every fifth row has a base register, because an address can be
  // base + {1, 2, 4} * stride or base + 1 * (3 * stride): 14 rows take three bases and two strides, not 14 registers.
  // kAhead prefetches B into L1. The prefetches take load slots, which do not pay off for data in L2.
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

  // One row of a step, with x in a register or in memory.
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
    if (!args.simple()) return run_tile(args);
    if constexpr (V::kProducts == 1)
      if (args.a_offsets) return run_series<Sums::kOfSteps>(args);
    run_series<Sums::kOfBlocks>(args);
  }

 private:
  using Mask = typename V::Mask;

  static constexpr int kNarrowPerFloat = V::kIntegers ? 4 : 2;

  // Sums of steps that are apart (a_offsets), or of blocks.
  enum class Sums { kOfSteps, kOfBlocks };

  // Omits what simple tiles do not need, which on a short sum takes as long as its FMAs.
  template <Sums kSums>
  static __attribute__((noinline)) void run_series(const BrgemmArgs& args) {
    const TileEpilogue& epilogue = args.epilogue;
    const float *bias = epilogue.bias, *slopes = epilogue.slopes, *next = args.next;
    [[maybe_unused]] const float* scales = epilogue.scales;
    [[maybe_unused]] const int32_t* weight_sums = epilogue.weight_sums;
    const Mask last = V::mask(args.n - (NV - 1) * V::kLanes);
    float* c = args.c;
    auto* narrow = static_cast<Narrow*>(epilogue.narrow);
    const void* residuals[TileEpilogue::kResiduals] = {epilogue.residuals[0].data, epilogue.residuals[1].data};
    const bool adds = residuals[0] || residuals[1];
    int64_t a_offset = 0, b_offset = 0;
    // Long sums prefetch the lines of a tile one row per kUnroll steps. All at once are more misses than L1 can track, and delay the
    // loads of the sum: 1×1 layers of k = 64 with a residual took a fifth longer.
    const bool is_short = args.k < kUnroll * MR;
    for (int64_t tiles = args.count; tiles > 0; --tiles) {
      asm volatile("" ::: "memory");  // otherwise GCC keeps fields of args in registers and the sums in memory
      Reg acc[kChains][MR][NV];
      Lines lines{c, args.c_stride, nullptr, 0};
      if constexpr (V::kProducts > 1) {
        if (narrow) {  // rows of fewer bytes; those that follow belong to the next panel
          lines.c = reinterpret_cast<const float*>(narrow);
          lines.c_stride = epilogue.narrow_stride / kNarrowPerFloat;
        }
      }
      if (adds) {  // the second residual is far away; the first one was written just before
        const int far = residuals[1] ? 1 : 0;
        lines.set_residual(epilogue.residuals[far], residuals[far]);
      }
      if (kSums == Sums::kOfSteps || is_short) lines.prefetch_all();
      start_with(acc[0], V::kIntegers ? nullptr : bias);
      if constexpr (V::kIntegers) start_with_zero_points(acc[0], weight_sums, epilogue);
      if (kSums != Sums::kOfSteps) start_other_chains(acc);
      if constexpr (kSums == Sums::kOfSteps) {
        // The kernel rows of three channels, or of three taps of one channel, are groups of three words.
        if (args.a_run % 3 == 0) {
          reduce_steps<3>(acc[0], args, a_offset, b_offset);
        } else {
          reduce_steps<1>(acc[0], args, a_offset, b_offset);
        }
      } else if (!next && is_short) {
        reduce<false, Prefetch::kNever, false>(acc, args, a_offset, b_offset, next, lines);
      } else if (!next) {
        reduce<false, Prefetch::kNever, true>(acc, args, a_offset, b_offset, next, lines);
      } else if (kUnroll * args.next_step <= kCacheLine) {
        reduce<false, Prefetch::kOncePerUnroll, true>(acc, args, a_offset, b_offset, next, lines);
      } else {
        reduce<false, Prefetch::kInEachStep, true>(acc, args, a_offset, b_offset, next, lines);
      }
      if (kSums != Sums::kOfSteps) add_chains(acc);
      if constexpr (V::kIntegers) {
        if (epilogue.to_floats) to_floats(acc[0], scales, epilogue, bias);
      }
      if (adds) {
        add_residuals(acc[0], epilogue, residuals, args.n, last);
        for (int i = 0; i < TileEpilogue::kResiduals; ++i) residuals[i] = next_of(epilogue.residuals[i], residuals[i]);
      }
      activate(acc[0], epilogue, slopes);
      bool stored = false;
      if constexpr (V::kProducts > 1) {
        if (narrow) {
          store_narrow(acc[0], narrow, epilogue.narrow_stride, epilogue.rounding, last);
          narrow += epilogue.narrow_step;
          stored = true;
        }
      }
      if (!stored) store(acc[0], args.n, c, args.c_stride, last);
      a_offset += args.a_step;
      b_offset += args.b_step;
      c += args.c_step;
      if (bias) bias += epilogue.column_step;
      if (slopes) slopes += epilogue.column_step;
      if constexpr (V::kIntegers) {
        scales += scales ? epilogue.column_step : 0;
        weight_sums += weight_sums ? epilogue.column_step : 0;
      }
      if (next) next += args.next_tile_step;
    }
  }

  static __attribute__((noinline)) void run_tile(const BrgemmArgs& args) {
    Reg acc[kChains][MR][NV];
    const Mask last = V::mask(args.n - (NV - 1) * V::kLanes);
    Lines lines{args.c, args.c_stride, nullptr, 0};
    const TileResidual& first = args.epilogue.residuals[0];
    if (!args.epilogue.residuals_first) lines.set_residual(first, first.data);
    if (!args.accumulate) lines.prefetch_all();
    start(acc[0], args, last);
    start_other_chains(acc);

    if (args.prefetch == 0 && !args.next) {
      reduce<false, Prefetch::kNever, false>(acc, args, 0, 0, nullptr, lines);
    } else {
      reduce<true, Prefetch::kInEachStep, false>(acc, args, 0, 0, args.next, lines);
    }
    add_chains(acc);
    finish(acc[0], args, last);
  }

  // Prefetches the lines that the finished tile reads or writes, while it is computed. Without it, a tile with a short k
  // waits for lines from L3 or memory.
  struct Lines {
    const float* c;
    int64_t c_stride;
    const float* residual;  // or null
    int64_t residual_stride;
    int rows = MR;  // not prefetched yet

    void set_residual(const TileResidual& from, const void* data) {
      residual = static_cast<const float*>(data);
      residual_stride = from.dtype == Dtype::kFloat32 ? from.stride : from.stride / kNarrowPerFloat;
    }

    template <int kWrite>
    static inline __attribute__((always_inline)) void prefetch(const float* row) {
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; j += kCacheLine) __builtin_prefetch(row + j, kWrite, 3);
    }

    inline __attribute__((always_inline)) void prefetch_row() {
      prefetch<1>(c);
      c += c_stride;
      if (residual) {
        prefetch<0>(residual);
        residual += residual_stride;
      }
      --rows;
    }

    inline __attribute__((always_inline)) void prefetch_all() {
      rows = 0;
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) prefetch<1>(c + i * c_stride);
      if (!residual) return;
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) prefetch<0>(residual + i * residual_stride);
    }
  };

  // When the data of a later call is prefetched into L2: in each step of k, or if there is little of it once per kUnroll
  // steps.
  enum class Prefetch { kNever, kOncePerUnroll, kInEachStep };

  // kCount steps of k, after which the pointers are at the next one.
  template <int kCount, bool kAhead, Prefetch kPrefetch>
  static inline __attribute__((always_inline)) void steps(Reg (&acc)[kChains][MR][NV], const char* (&base)[kBases],
                                                          int64_t stride, int64_t stride3, const float*& b,
                                                          const float*& ahead, const float*& next, int64_t next_step) {
    if (kPrefetch == Prefetch::kOncePerUnroll) {
      __builtin_prefetch(next, 0, 2);
      next += kCount * next_step;
    }
#pragma GCC unroll 4
    for (int u = 0; u < kCount; ++u) {
      if (kPrefetch == Prefetch::kInEachStep) {
        __builtin_prefetch(next, 0, 2);
        next += next_step;
      }
      step<kAhead>(acc[u % kChains], base, stride, stride3, u, b + u * kColumns, ahead + u * kColumns);
    }
    b += kCount * kColumns;
    ahead += kCount * kColumns;
#pragma GCC unroll 8
    for (int i = 0; i < kBases; ++i) base[i] += kCount * sizeof(float);
  }

  // Sums over the batch. A and B start at these offsets, in words, from where args has them.
  template <bool kAhead, Prefetch kPrefetch, bool kSpread>
  static inline __attribute__((always_inline)) void reduce(Reg (&acc)[kChains][MR][NV], const BrgemmArgs& args,
                                                           int64_t a_offset, int64_t b_offset, const float* next,
                                                           Lines& lines) {
    const int64_t stride = args.a_stride * static_cast<int64_t>(sizeof(float)), stride3 = 3 * stride;  // bytes
    const int64_t next_step = next ? args.next_step : 0;
    for (int64_t t = 0; t < args.batch; ++t) {
      const char* base[kBases];
#pragma GCC unroll 8
      for (int i = 0; i < kBases; ++i) base[i] = reinterpret_cast<const char*>(args.a[t] + a_offset) + 5 * i * stride;
      const float* b = args.b[t] + b_offset;
      const float* ahead = b + args.prefetch;
      int64_t p = args.k;
      for (; p >= kUnroll; p -= kUnroll) {
        if (kSpread && lines.rows > 0) lines.prefetch_row();
        steps<kUnroll, kAhead, kPrefetch>(acc, base, stride, stride3, b, ahead, next, next_step);
      }
      // The rest is not a loop: the kernel rows of first layers have 3 to 9 steps.
      if (p & 2) steps<2, kAhead, kPrefetch>(acc, base, stride, stride3, b, ahead, next, next_step);
      if (p & 1) steps<1, kAhead, kPrefetch>(acc, base, stride, stride3, b, ahead, next, next_step);
    }
  }

  // Sums over steps of k that are apart, in one chain per accumulator: for tiles with enough of them. Each kRun steps read
  // consecutive words: with three, a step of 12 FMAs has 25 instructions instead of 29, and the first layer of MobileNetV2 takes
  // 3 % less time (Zen 3).
  template <int kRun>
  static inline __attribute__((always_inline)) void reduce_steps(Reg (&acc)[MR][NV], const BrgemmArgs& args,
                                                                 int64_t a_offset, int64_t b_offset) {
    const int64_t stride = args.a_stride * static_cast<int64_t>(sizeof(float));  // bytes
    int64_t stride3 = 3 * stride, stride5 = 5 * stride;
    const float *a = args.a[0] + a_offset, *b = args.b[0] + b_offset;
    // Otherwise GCC computes these numbers and addresses from each other in each step.
    asm("" : "+r"(stride3), "+r"(stride5), "+r"(a));
    const int32_t* const end = args.a_offsets + args.k;
    for (const int32_t* offset = args.a_offsets; offset < end; offset += kRun, b += kRun * kColumns) {
      const char* base[kBases];
      base[0] = reinterpret_cast<const char*>(a + *offset);
#pragma GCC unroll 8
      for (int i = 1; i < kBases; ++i) base[i] = base[i - 1] + stride5;
#pragma GCC unroll 4
      for (int u = 0; u < kRun; ++u) step<false>(acc, base, stride, stride3, u, b + u * kColumns, b);
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
        for (int j = 0; j < NV; ++j) acc[0][i][j] = V::add_sums(acc[0][i][j], acc[s][i][j]);
  }

  // Starts the accumulators with what is added to the sum: a load takes a load port, an addition takes an FMA port.
  static inline __attribute__((always_inline)) void start(Reg (&acc)[MR][NV], const BrgemmArgs& args, Mask last) {
    if (args.accumulate) {
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[i][j] = load_column(args.c + i * args.c_stride, j, last);
      return;
    }
    start_with(acc, V::kIntegers ? nullptr : args.epilogue.bias);
    if constexpr (V::kIntegers) start_with_zero_points(acc, args.epilogue.weight_sums, args.epilogue);
    if (!args.epilogue.residuals_first) return;
    for (const TileResidual& each : args.epilogue.residuals)
      if (each.data) add_rows(acc, static_cast<const float*>(each.data), each.stride, PartialVector<V>{last});
  }

  static inline __attribute__((always_inline)) void start_with(Reg (&acc)[MR][NV], const float* bias) {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const Reg first = bias ? V::load(bias + j * V::kLanes) : V::zero();
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) acc[i][j] = first;
    }
  }

  // `last` loads the last column of vectors.
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

  static inline __attribute__((always_inline)) void add_last(Reg (&acc)[MR][NV], const float* rows, int64_t row_stride,
                                                             int n, Mask last) {
    if (n == kColumns) {
      add_rows(acc, rows, row_stride, WholeVector<V>{});
    } else {
      add_rows(acc, rows, row_stride, PartialVector<V>{last});
    }
  }

  static inline __attribute__((always_inline)) Reg load_column(const float* row, int j, Mask last) {
    return j + 1 < NV ? V::load(row + j * V::kLanes) : V::load(row + j * V::kLanes, last);
  }

  // Sums of products with bytes start with what their zero point adds to them, with the other sign.
  static inline __attribute__((always_inline)) void start_with_zero_points(Reg (&acc)[MR][NV],
                                                                           const int32_t* weight_sums,
                                                                           const TileEpilogue& epilogue) {
    if constexpr (V::kBytes) {
      if (!epilogue.to_floats || !weight_sums || epilogue.x.zero_point == 0) return;
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) {
        const Reg first = V::product(weight_sums + j * V::kLanes, -epilogue.x.zero_point);
#pragma GCC unroll 32
        for (int i = 0; i < MR; ++i) acc[i][j] = first;
      }
    }
  }

  // Integer sums become sum * (scales * x.scale) + bias, rounded. Scales that are null count as 1.
  static inline __attribute__((always_inline)) void to_floats(Reg (&acc)[MR][NV], const float* scales,
                                                              const TileEpilogue& epilogue, const float* bias) {
    const Reg x_scale = V::set1(scales ? epilogue.x.scale : 1.0f), factor = V::set1(epilogue.factor);
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const Reg scale = V::mul(scales ? V::mul(V::load(scales + j * V::kLanes), x_scale) : x_scale, factor);
      const Reg added = bias ? V::mul(V::load(bias + j * V::kLanes), factor) : V::zero();
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) acc[i][j] = V::fma(V::to_float(acc[i][j]), scale, added);
    }
    if (epilogue.sum.steps != 0.0f) apply(acc, RoundedSum<V>(epilogue.sum));
  }

  // Adds the residuals, of which the tile has `data`.
  static inline __attribute__((always_inline)) void add_residuals(Reg (&acc)[MR][NV], const TileEpilogue& epilogue,
                                                                  const void* const (&data)[TileEpilogue::kResiduals],
                                                                  int n, Mask last) {
    int count = TileEpilogue::kResiduals;
    asm("" : "+r"(count));  // one copy of the code: the registers of a tile are full
    for (int i = 0; i < count; ++i) {
      if (!data[i]) continue;
      const TileResidual& residual = epilogue.residuals[i];
      if constexpr (V::kProducts > 1) {
        if (residual.dtype != Dtype::kFloat32) {
          add_narrow(acc, static_cast<const Narrow*>(data[i]), residual, last);
          continue;
        }
      }
      if constexpr (V::kIntegers) {
        add_in_units(acc, static_cast<const float*>(data[i]), residual.stride, epilogue.unit, last);
      } else {
        add_last(acc, static_cast<const float*>(data[i]), residual.stride, n, last);
      }
    }
  }

  static inline __attribute__((always_inline)) void add_in_units(Reg (&acc)[MR][NV], const float* rows, int64_t stride,
                                                                 float unit, Mask last) {
    const Reg units = V::set1(unit);
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[i][j] = V::fma(load_column(rows + i * stride, j, last), units, acc[i][j]);
  }

  static inline __attribute__((always_inline)) void add_narrow(Reg (&acc)[MR][NV], const Narrow* rows,
                                                               const TileResidual& residual, Mask last) {
    const typename V::NarrowReader reader(residual.integers);
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) {
      const Narrow* row = rows + i * residual.stride;
#pragma GCC unroll 8
      for (int j = 0; j + 1 < NV; ++j) acc[i][j] = reader.add(acc[i][j], row + j * V::kLanes);
      acc[i][NV - 1] = reader.add(acc[i][NV - 1], row + (NV - 1) * V::kLanes, last);
    }
  }

  // Returns where the next tile of a series has the residual that this one has at `data`; null without one.
  static inline __attribute__((always_inline)) const void* next_of(const TileResidual& residual, const void* data) {
    if (!data) return nullptr;
    if constexpr (V::kProducts > 1) {
      if (residual.dtype != Dtype::kFloat32) return static_cast<const Narrow*>(data) + residual.step;
    }
    return static_cast<const float*>(data) + residual.step;
  }

  static inline __attribute__((always_inline)) void finish(Reg (&acc)[MR][NV], const BrgemmArgs& args, Mask last) {
    const TileEpilogue& epilogue = args.epilogue;
    if constexpr (V::kIntegers) {
      if (epilogue.to_floats) to_floats(acc, epilogue.scales, epilogue, epilogue.bias);
    }
    if (!epilogue.residuals_first)
      add_residuals(acc, epilogue, {epilogue.residuals[0].data, epilogue.residuals[1].data}, args.n, last);
    activate(acc, epilogue, epilogue.slopes);
    if constexpr (V::kProducts > 1) {
      if (epilogue.narrow)
        return store_narrow(acc, static_cast<Narrow*>(epilogue.narrow), epilogue.narrow_stride, epilogue.rounding,
                            last);
    }
    store(acc, args.n, args.c, args.c_stride, last);
  }

  static inline __attribute__((always_inline)) void activate(Reg (&acc)[MR][NV], const TileEpilogue& epilogue,
                                                             const float* slopes) {
    constexpr float kInfinity = __builtin_inff();
    const TileActivation& activation = epilogue.activation;
    const float unit = V::kIntegers ? epilogue.unit : 1.0f;
    if (activation.lo > -kInfinity) {
      const Reg lo = V::set1(activation.lo * unit);
      apply(acc, [&](Reg x) { return V::max(lo, x); });
    }
    if (activation.hi < kInfinity) {
      const Reg hi = V::set1(activation.hi * unit);
      apply(acc, [&](Reg x) { return V::min(hi, x); });
    }
    if (activation.hard_swish) apply(acc, [&](Reg x) { return HardSwish::apply<V>(x); });
    if (!slopes) return;
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const Reg slope = V::load(slopes + j * V::kLanes);
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) acc[i][j] = Prelu::apply<V>(acc[i][j], slope);
    }
  }

  static inline __attribute__((always_inline)) void store_narrow(Reg (&acc)[MR][NV], Narrow* c, int64_t stride,
                                                                 const TileRounding& rounding, Mask last) {
    const typename V::NarrowWriter writer(rounding);
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) writer.store_row(c + i * stride, acc[i], last);
  }

  // A partial store takes longer. With AVX-512 on Zen 4 one masked store starts every three cycles, or two full ones.
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

// Adds the tiles of one NV with 1 to MR rows.
template <class V, int NV, int MR>
void add_tiles(KernelTable& kernels, bool halves = false) {
  if constexpr (MR > 1) add_tiles<V, NV, MR - 1>(kernels, halves);
  kernels.tiles[MR][NV] = &Brgemm<V, MR, NV, false>::run;
  // In wider tiles half a vector saves little.
  if constexpr (V::kHasHalves && NV <= 3)
    if (halves) kernels.half_tiles[MR][NV] = &Brgemm<V, MR, NV, true>::run;
}

}  // namespace
}  // namespace loopwright
