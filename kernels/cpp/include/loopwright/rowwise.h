// Operators on arrays as they lie in memory, which do little more than to read and to write. Any thread may call them
// at any time; up to `threads` of the pool take part.
#pragma once

#include <cstdint>

#include "loopwright/brgemm.h"
#include "loopwright/isa.h"

namespace loopwright {

// out = activation(a + b), arrays of n floats; without b where that is null. `out` may be a or b, but overlap them in no
// other way.
void add(const float* a, const float* b, Activation activation, float* out, int64_t n, Isa isa, int threads);

// out = softmax(x) a row of n floats (see softmax.h). `out` may be x.
void softmax(const float* x, float* out, int64_t rows, int64_t n, Isa isa, int threads);

// See layer_norm.h.
void layer_norm(const LayerNormArgs& args, Isa isa, int threads);

}  // namespace loopwright
