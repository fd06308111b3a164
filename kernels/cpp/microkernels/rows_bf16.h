// Converts rows of bfloat16 to float32 and back, templated over a vector type V that loads and stores both.
#pragma once

#include "loopwright/dtype.h"

namespace loopwright {
namespace {

template <class V, class From, class To>
void convert_rows(const From* from, int64_t from_stride, To* to, int64_t to_stride, int rows, int n) {
  const auto rest = V::mask(n % V::kLanes);
  for (int i = 0; i < rows; ++i, from += from_stride, to += to_stride) {
    int j = 0;
    for (; j + V::kLanes <= n; j += V::kLanes) V::store(to + j, V::load(from + j));
    if (j < n) V::store(to + j, V::load(from + j, rest), rest);
  }
}

}  // namespace
}  // namespace loopwright
