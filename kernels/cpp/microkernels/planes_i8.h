// Planes of floats as pixels of 8-bit integers (contract: planes.h), templated over a vector type V of 8-bit integers. The bytes of
// each plane pass through L1, where they are interleaved. Division is the limit: 10 cycles for 16 floats on Zen 4.
#pragma once

#include <algorithm>

#include "microkernels/interleave.h"

namespace loopwright {
namespace {

template <class V, int C>
void quantize_planes(const float* planes, int64_t stride, int64_t count, float scale, const TileRounding& rounding,
                     uint8_t* to) {
  constexpr int64_t kBlock = 512;
  constexpr int kVectors = 4, kStep = kVectors * V::kLanes;
  alignas(64) uint8_t bytes[C][kBlock];
  const typename V::NarrowWriter writer(rounding);
  const auto divisor = V::set1(scale);
  for (int64_t begin = 0; begin < count; begin += kBlock, to += kBlock * C) {
    const int64_t n = std::min(kBlock, count - begin);
    for (int p = 0; p < C; ++p) {
      const float* const from = planes + p * stride + begin;
      int64_t i = 0;
      for (; i + kStep <= n; i += kStep) {
        typename V::Reg x[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) x[v] = V::div(V::load(from + i + v * V::kLanes), divisor);
        writer.store_row(bytes[p] + i, x, V::mask(V::kLanes));
      }
      for (; i < n; i += V::kLanes) {
        const auto mask = V::mask(static_cast<int>(std::min<int64_t>(V::kLanes, n - i)));
        writer.store(bytes[p] + i, V::div(V::load(from + i, mask), divisor), mask);
      }
    }
    interleave<C, uint8_t>(bytes[0], kBlock, n, to);
  }
}

template <class V>
void add_quantized_planes(PlaneFunctions& planes) {
  planes.integers[1] = &quantize_planes<V, 1>;
  planes.integers[2] = &quantize_planes<V, 2>;
  planes.integers[3] = &quantize_planes<V, 3>;
  planes.integers[4] = &quantize_planes<V, 4>;
}

}  // namespace
}  // namespace loopwright
