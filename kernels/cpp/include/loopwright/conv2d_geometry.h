// The shapes of a two-dimensional convolution: images (n, h, w, c) -> (n, oh, ow, o).
#pragma once

#include <cstdint>

#include "loopwright/words.h"

namespace loopwright {

struct Images {
  int64_t n, h, w;
};

struct Conv2dGeometry {
  int64_t c, o, kh, kw;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;

  int64_t group_c() const { return c / groups; }
  int64_t group_o() const { return o / groups; }
  // Products that an output is the sum of.
  int64_t reduction() const { return kh * kw * group_c(); }
  // Rows and columns that the kernel spans.
  int64_t span_h() const { return dilation_h * (kh - 1) + 1; }
  int64_t span_w() const { return dilation_w * (kw - 1) + 1; }
  bool padded() const { return pad_top || pad_left || pad_bottom || pad_right; }
  bool strided() const { return stride_h != 1 || stride_w != 1; }
  bool dilated() const { return dilation_h != 1 || dilation_w != 1; }
  // A matrix product over the pixels.
  bool pointwise() const { return kh == 1 && kw == 1 && !strided() && !padded() && groups == 1; }
  // A kernel of its own for each channel.
  bool depthwise() const { return groups == c && o == c; }
  // The same with the words (words.h) of each group's channels in place of channels.
  Conv2dGeometry in_words(Dtype dtype) const {
    Conv2dGeometry g = *this;
    g.c = groups * to_words(group_c(), dtype);
    return g;
  }

  // Not positive where the kernel does not fit the padded image.
  int64_t output_h(int64_t h) const {
    return span_h() > h + pad_top + pad_bottom ? 0 : (h + pad_top + pad_bottom - span_h()) / stride_h + 1;
  }
  int64_t output_w(int64_t w) const {
    return span_w() > w + pad_left + pad_right ? 0 : (w + pad_left + pad_right - span_w()) / stride_w + 1;
  }
};

}  // namespace loopwright
