// Measures the limits of the roofline in the instructions of one ISA: FMAs without memory accesses, and loads with little
// arithmetic.
#pragma once

#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// Runs as many independent chains as registers allow: a latency of 4 cycles at two FMAs per cycle requires 8, one of 6
// cycles 12. Each loop over them must be unrolled; otherwise all of them would be kept in memory.
template <class V>
double fma_loop(int64_t iterations) {
  constexpr int kChains = V::kRegisters * 3 / 4, kUnroll = 8;
  typename V::Reg acc[kChains];
#pragma GCC unroll 32
  for (int c = 0; c < kChains; ++c) acc[c] = V::zero();
  volatile float opaque = 0.5f;  // keeps the compiler from computing the sums
  const typename V::Reg x = V::set1(opaque), y = V::set1(opaque);
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 8
    for (int u = 0; u < kUnroll; ++u)
#pragma GCC unroll 32
      for (int c = 0; c < kChains; ++c)
        V::accumulate(acc[c], x, y);  // grows until increments are rounded away, so it stays finite
  }
  typename V::Reg total = acc[0];
#pragma GCC unroll 32
  for (int c = 1; c < kChains; ++c) total = V::add(total, acc[c]);
  opaque = V::sum(total);
  return 2.0 * V::kProducts * V::kLanes * kChains * kUnroll * static_cast<double>(iterations);
}

// Reads kStreams parts of the data at once, with eight independent sums in any case. Prefetching keeps more lines on the way
// from memory; in L1 it takes the place of loads.
template <class V, int kStreams, bool kPrefetch>
float read_sum(const float* data, int64_t count) {
  constexpr int kVectors = 8 / kStreams, kStep = kVectors * V::kLanes;
  constexpr int kLine = 16, kAhead = 256;  // in floats
  typename V::Reg acc[kStreams][kVectors];
  for (auto& stream : acc)
    for (auto& a : stream) a = V::zero();
  const int64_t part = count / kStreams / kStep * kStep;
  for (int64_t i = 0; i < part; i += kStep)
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      const float* p = data + s * part + i;
      if (kPrefetch)
#pragma GCC unroll 8
        for (int ahead = 0; ahead < kStep; ahead += kLine) __builtin_prefetch(p + kAhead + ahead, 0, 3);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[s][v] = V::add(acc[s][v], V::load(p + v * V::kLanes));
    }
  typename V::Reg total = V::zero();
  for (auto& stream : acc)
    for (auto& a : stream) total = V::add(total, a);
  float sum = V::sum(total);
  for (int64_t i = kStreams * part; i < count; ++i) sum += data[i];
  return sum;
}

// On Zen 5 the first is fastest in L2, the second in L1, the third in L3 and memory.
template <class V>
void add_read_sums(KernelTable& k) {
  k.read_sums[0] = &read_sum<V, 1, false>;
  k.read_sums[1] = &read_sum<V, 2, false>;
  k.read_sums[2] = &read_sum<V, 4, true>;
}

}  // namespace
}  // namespace loopwright
