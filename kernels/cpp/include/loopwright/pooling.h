// Pooling over windows of NHWC images, with ONNX's rules for borders.
#pragma once

#include <cstdint>

#include "loopwright/dtype.h"
#include "loopwright/geometry.h"
#include "loopwright/isa.h"

namespace loopwright {

struct PoolGeometry {
  Window h, w;
  bool ceil_mode = false;

  int64_t output_h(int64_t size) const { return h.outputs(size, ceil_mode); }
  int64_t output_w(int64_t size) const { return w.outputs(size, ceil_mode); }
};

enum class Pooling {
  kMax,
  kAverage,          // over the pixels of the image under the window
  kAverageWithPads,  // over those of the padding too, as zeros, but not over what ceil_mode adds behind it
};

// x (n, h, w, c) -> out (n, oh, ow, c), none of them empty. `out` must not overlap x. On each axis, the padding must be
// smaller than the span of the kernel. Uses up to `threads` threads of the pool. Thread-safe.
void pool2d(Pooling pooling, const PoolGeometry& geometry, const float* x, const Images& images, int64_t c, float* out,
            Isa isa, int threads);

// The maximum of 8-bit integers of this dtype.
void max_pool2d_of_integers(const PoolGeometry& geometry, const void* x, Dtype dtype, const Images& images, int64_t c,
                            void* out, Isa isa, int threads);

}  // namespace loopwright
