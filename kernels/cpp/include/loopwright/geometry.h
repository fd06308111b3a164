// Shapes of images, windows and convolutions. Images are NHWC.
#pragma once

#include <algorithm>
#include <cstdint>

namespace loopwright {

struct Images {
  int64_t n, h, w;

  bool operator==(const Images& other) const { return n == other.n && h == other.h && w == other.w; }
};

// Windows that slide along one axis of an image.
struct Window {
  int64_t kernel, stride = 1, pad_begin = 0, pad_end = 0, dilation = 1;

  // Pixels from the first tap of a window to the last.
  int64_t span() const { return dilation * (kernel - 1) + 1; }
  // The pixel under the first tap of an output's window; may be outside the image.
  int64_t origin(int64_t output) const { return output * stride - pad_begin; }
  // Returns the number of outputs, 0 if the kernel does not fit the padded image. With ceil_mode there is one more if
  // the windows do not cover the padded image, unless its window would start behind the image.
  int64_t outputs(int64_t size, bool ceil_mode = false) const {
    const int64_t room = size + pad_begin + pad_end - span();
    if (room < 0) return 0;
    if (!ceil_mode) return room / stride + 1;
    return std::min((room + stride - 1) / stride, (size + pad_begin - 1) / stride) + 1;
  }
};

// A convolution of images (n, h, w, c) -> (n, oh, ow, o).
struct Conv2dGeometry {
  int64_t c, o, kh, kw;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;

  Window rows() const { return {kh, stride_h, pad_top, pad_bottom, dilation_h}; }
  Window columns() const { return {kw, stride_w, pad_left, pad_right, dilation_w}; }
  int64_t group_c() const { return c / groups; }
  int64_t group_o() const { return o / groups; }
  // Number of products per output.
  int64_t reduction() const { return kh * kw * group_c(); }
  int64_t span_h() const { return rows().span(); }
  int64_t span_w() const { return columns().span(); }
  bool padded() const { return pad_top || pad_left || pad_bottom || pad_right; }
  bool strided() const { return stride_h != 1 || stride_w != 1; }
  bool dilated() const { return dilation_h != 1 || dilation_w != 1; }
  // Whether this is a matrix product over the pixels.
  bool pointwise() const { return kh == 1 && kw == 1 && !strided() && !padded() && groups == 1; }
  // Whether each channel has its own kernel.
  bool depthwise() const { return groups == c && o == c && c > 1; }  // one channel is an ordinary sum
  // 0 if the kernel does not fit the padded image.
  int64_t output_h(int64_t h) const { return rows().outputs(h); }
  int64_t output_w(int64_t w) const { return columns().outputs(w); }
};

}  // namespace loopwright
