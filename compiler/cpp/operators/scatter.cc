// ScatterElements and ScatterND. The indices were checked before; see checks.cc.
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <cstring>
#include <vector>

#include "../tensors.h"

namespace loopwright {
namespace {

using tvm::ffi::String;

struct Replace {
  template <typename T>
  T operator()(T, T update) const {
    return update;
  }
};
struct Add {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapping(a, b, [](auto x, auto y) { return x + y; });
  }
};
struct Multiply {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapping(a, b, [](auto x, auto y) { return x * y; });
  }
};
struct Largest {
  template <typename T>
  T operator()(T a, T b) const {
    return a > b || is_nan(a) ? a : b;  // as Max: NaN if either is NaN
  }
};
struct Smallest {
  template <typename T>
  T operator()(T a, T b) const {
    return a < b || is_nan(a) ? a : b;
  }
};

template <typename F>
void with_reduction(const String& name, F&& function) {
  if (name == "none") return function(Replace{});
  if (name == "add") return function(Add{});
  if (name == "mul") return function(Multiply{});
  if (name == "max") return function(Largest{});
  if (name == "min") return function(Smallest{});
  TVM_FFI_THROW(ValueError) << "there is no reduction " << name;
}

void copy(const DLTensor* from, DLTensor* to) {
  if (const size_t bytes = tvm::ffi::GetDataSize(*from)) std::memcpy(data<char>(to), data<char>(from), bytes);
}

// Throws ValueError unless index i is from 0 to limits[i % count] - 1.
void require_range(const DLTensor* indices, const int64_t* limits, int64_t count) {
  const auto* places = data<int64_t>(indices);
  const int64_t total = size(indices);
  bool ok = true;
  for (int64_t i = 0; i < total; ++i) ok &= places[i] >= 0 && places[i] < limits[i % count];
  require(ok, "an index is out of range");
}

// Calls combine(place of the element in the output, update) for every update, in order.
template <typename T, typename Combine>
void for_each_update(const DLTensor* out, const DLTensor* indices, const T* updates, int64_t axis, Combine&& combine) {
  const int ndim = out->ndim;
  std::vector<int64_t> strides(static_cast<size_t>(ndim)), index(static_cast<size_t>(ndim), 0);
  for (int i = 0; i < ndim; ++i) strides[static_cast<size_t>(i)] = product(out->shape, i + 1, ndim);
  const auto* places = data<int64_t>(indices);
  const int64_t count = size(indices);
  for (int64_t i = 0; i < count; ++i) {
    int64_t place = 0;
    for (int d = 0; d < ndim; ++d)
      place += strides[static_cast<size_t>(d)] * (d == axis ? places[i] : index[static_cast<size_t>(d)]);
    combine(place, updates[i]);
    for (int d = ndim - 1; d >= 0; --d) {
      if (++index[static_cast<size_t>(d)] < indices->shape[d]) break;
      index[static_cast<size_t>(d)] = 0;
    }
  }
}

// Writes to `out` the elements of `source`, with the updates combined into the places that the indices, int64, name along
// an axis.
void scatter_elements(DLTensor* source, DLTensor* indices, DLTensor* updates, int64_t axis, const String& reduction,
                      DLTensor* out) {
  require(alike(source, out) && axis >= 0 && axis < out->ndim, "scatter_elements: source and output");
  require(is_int64(indices) && same_shape(indices, updates) && same_type(updates, out) && indices->ndim == out->ndim &&
              is_contiguous(indices) && is_contiguous(updates),
          "scatter_elements: indices and updates");
  for (int d = 0; d < out->ndim; ++d)
    require(d == axis || indices->shape[d] <= out->shape[d], "scatter_elements: more indices than elements");
  require_range(indices, out->shape + axis, 1);
  copy(source, out);
  with_reduction(reduction, [&](auto combined) {
    with_element_type(out->dtype, [&](auto type) {
      using T = decltype(type);
      T* to = data<T>(out);
      for_each_update(out, indices, data<T>(updates), axis,
                      [&](int64_t place, T update) { to[place] = combined(to[place], update); });
    });
  });
}

// As scatter_elements, where each row of indices names a slice of the output.
void scatter_nd(DLTensor* source, DLTensor* indices, DLTensor* updates, const String& reduction, DLTensor* out) {
  require(alike(source, out) && indices->ndim >= 1 && is_int64(indices) && is_contiguous(indices),
          "scatter_nd: source, output and indices");
  const int depth = static_cast<int>(indices->shape[indices->ndim - 1]);
  const int64_t slice = product(out->shape, depth, out->ndim), rows = product(indices->shape, 0, indices->ndim - 1);
  require(depth >= 1 && depth <= out->ndim && same_type(updates, out) && is_contiguous(updates) &&
              size(updates) == rows * slice,
          "scatter_nd: updates");
  require_range(indices, out->shape, depth);
  copy(source, out);
  const auto* places = data<int64_t>(indices);
  with_reduction(reduction, [&](auto combined) {
    with_element_type(out->dtype, [&](auto type) {
      using T = decltype(type);
      const T* from = data<T>(updates);
      for (int64_t row = 0; row < rows; ++row) {
        int64_t place = 0;
        for (int d = 0; d < depth; ++d) place = place * out->shape[d] + places[row * depth + d];
        T* to = data<T>(out) + place * slice;
        for (int64_t i = 0; i < slice; ++i) to[i] = combined(to[i], from[row * slice + i]);
      }
    });
  });
}

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("loopwright.scatter_elements", &scatter_elements)
      .def("loopwright.scatter_nd", &scatter_nd);
}

}  // namespace
}  // namespace loopwright
