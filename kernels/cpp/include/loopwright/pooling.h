// Pooling over windows of NHWC images, with ONNX's rules for borders.
#pragma once

#include <algorithm>
#include <cstdint>

#include "loopwright/conv2d_geometry.h"
#include "loopwright/isa.h"

namespace loopwright {

// Windows along one axis of the image.
struct PoolAxis {
  int64_t kernel, stride = 1, pad_begin = 0, pad_end = 0, dilation = 1;

  int64_t span() const { return dilation * (kernel - 1) + 1; }
  // How many windows there are; none where the kernel does not fit the padded image. With ceil_mode there is one more
  // where that reaches beyond the padding, but none that would begin behind the image.
  int64_t output(int64_t size, bool ceil_mode) const {
    const int64_t room = size + pad_begin + pad_end - span();
    if (room < 0) return 0;
    if (!ceil_mode) return room / stride + 1;
    return std::min((room + stride - 1) / stride, (size + pad_begin - 1) / stride) + 1;
  }
};

struct PoolGeometry {
  PoolAxis h, w;
  bool ceil_mode = false;
};

enum class Pooling {
  kMax,
  kAverage,          // over the pixels of the image that the window meets
  kAverageWithPads,  // counting those of the padding too, as zeros, but none that ceil_mode reaches behind it
};

// x (n, h, w, c) -> out (n, oh, ow, c), none of them empty and `out` apart from x. On each axis, padding is smaller
// than the kernel's span. Any thread may call it at any time; up to `threads` of the pool take part.
void pool2d(Pooling pooling, const PoolGeometry& geometry, const float* x, const Images& images, int64_t c, float* out,
            Isa isa, int threads);

}  // namespace loopwright
