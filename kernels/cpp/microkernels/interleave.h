// Elements of C planes, pixel by pixel (contract: planes.h). GCC makes vectors of the loop, with the shuffles of the ISA that the
// file is compiled for.
#pragma once

#include "microkernels/planes.h"

namespace loopwright {
namespace {

template <int C, class T>
void interleave(const T* __restrict planes, int64_t stride, int64_t count, T* __restrict to) {
  for (int64_t i = 0; i < count; ++i)
    for (int p = 0; p < C; ++p) to[i * C + p] = planes[p * stride + i];
}

inline void add_interleaved_floats(PlaneFunctions& planes) {
  planes.floats[1] = &interleave<1, float>;
  planes.floats[2] = &interleave<2, float>;
  planes.floats[3] = &interleave<3, float>;
  planes.floats[4] = &interleave<4, float>;
}

}  // namespace
}  // namespace loopwright
