// to[i, p] = planes[p, i] for i < count and as many planes as the function is for. The planes are `stride` floats apart.
#pragma once

#include <cstdint>

#include "microkernels/tile_epilogue.h"

namespace loopwright {

struct PlaneFunctions {
  static constexpr int kMost = 4;
  // By the number of planes, from 1 on.
  void (*floats[kMost + 1])(const float* planes, int64_t stride, int64_t count, float* to) = {};
  // The same, divided by `scale` and rounded to integers. Null unless the dtype of the table is int8.
  void (*integers[kMost + 1])(const float* planes, int64_t stride, int64_t count, float scale,
                              const TileRounding& rounding, uint8_t* to) = {};
};

}  // namespace loopwright
