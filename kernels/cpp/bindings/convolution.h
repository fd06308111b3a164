// Arguments of convolutions and of transposed convolutions from Python. Errors are as in arguments.h.
#pragma once

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "loopwright/geometry.h"

namespace loopwright {

// Sets what both kinds of geometries have, but not the channels and the kernel. `channels` are those of the weight that the
// groups must divide; `kind` is what a message calls them.
template <class Geometry>
void set_window(Geometry& g, const Pair& stride, const FourSides& padding, const Pair& dilation, int64_t groups,
                int64_t channels, const char* kind) {
  if (groups < 1) throw py::value_error("groups must be at least 1, got " + std::to_string(groups));
  if (channels % groups != 0)
    throw py::value_error("groups must divide weight's " + std::to_string(channels) + " " + kind + " channels, got " +
                          std::to_string(groups));
  g.groups = groups;
  std::tie(g.stride_h, g.stride_w) = at_least("stride", stride, 1);
  std::tie(g.dilation_h, g.dilation_w) = at_least("dilation", dilation, 1);
  if (*std::min_element(padding.begin(), padding.end()) < 0) throw py::value_error("padding must not be negative");
  at_least("padding", {padding[0], padding[1]}, 0);
  at_least("padding", {padding[2], padding[3]}, 0);
  std::tie(g.pad_top, g.pad_left, g.pad_bottom, g.pad_right) = std::tuple_cat(padding);
}

// x (n, h, w, c), and the output and the residual, which is empty if absent. Inputs that are not contiguous are copied.
struct ImageArrays {
  py::array x, out, residual;
  Images images{};

  ImageArrays(const py::object& x_object, int64_t channels, const std::vector<Dtype>& dtypes)
      : x(contiguous_or_copied(checked(x_object, "x", {-1, -1, -1, channels}, dtypes))),
        images{x.shape(0), x.shape(1), x.shape(2)} {}

  // `shape` is that of the output, `dtype` its type if it is new, and `residual_dtypes` those of the residual.
  void set_output(const py::object& out_object, const py::object& residual_object, const std::vector<int64_t>& shape,
                  Dtype dtype = Dtype::kFloat32, const std::vector<Dtype>& residual_dtypes = {Dtype::kFloat32}) {
    out = output(out_object, "out", shape, dtype);
    if (overlap(out, x)) throw py::value_error("out must not overlap x");
    if (residual_object.is_none()) return;
    residual = contiguous_or_copied(checked(residual_object, "residual", shape, residual_dtypes));
    const bool same = residual.data() == out.data() && residual.itemsize() == out.itemsize();
    if (!same && overlap(residual, out)) throw py::value_error("residual must be out itself or not overlap it");
  }

  void* written() const { return const_cast<void*>(out.data()); }
  const void* residual_data() const { return residual.size() ? residual.data() : nullptr; }
};

}  // namespace loopwright
