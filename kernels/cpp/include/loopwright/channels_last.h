// Images of planes with their channels last.
#pragma once

#include <cstdint>
#include <optional>

#include "loopwright/isa.h"
#include "loopwright/quantization.h"

namespace loopwright {

constexpr int64_t kMostPlanes = 4;

// x (n, c, pixels) of float32 -> out (n, pixels, c), with up to 4 channels: float32, or the integers of `integers`, rounded as by
// QuantizeLinear of ONNX (NaN becomes the least). `out` must not overlap x. Uses up to `threads` threads of the pool.
// Thread-safe.
void channels_last(const float* x, int64_t n, int64_t c, int64_t pixels, const std::optional<Quantization>& integers,
                   void* out, Isa isa, int threads);

}  // namespace loopwright
