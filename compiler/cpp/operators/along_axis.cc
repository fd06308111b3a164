// Operators that run along an axis one element after the other: TopK, CumSum, CumProd.
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "../tensors.h"

namespace loopwright {
namespace {

// The rows of a tensor along an axis: element i of row r is at start(r) + i * stride.
struct Rows {
  Rows(const DLTensor* tensor, int64_t axis)
      : count(tensor->shape[axis]),
        stride(product(tensor->shape, static_cast<int>(axis) + 1, tensor->ndim)),
        rows(product(tensor->shape, 0, static_cast<int>(axis)) * stride) {}

  int64_t start(int64_t row) const { return row / stride * count * stride + row % stride; }

  int64_t count, stride, rows;
};

// Whether x comes before y among the largest or the smallest. NaN is larger than every number, as in NumPy.
template <typename T>
bool comes_first(T x, T y, bool largest) {
  if (is_nan(x) || is_nan(y)) return largest ? is_nan(x) && !is_nan(y) : !is_nan(x);
  return largest ? x > y : x < y;
}

// Writes the k largest or smallest elements along an axis, in order, and their indices, int64; k is the outputs' size.
// Of equal elements, the one with the lower index comes first.
void top_k(DLTensor* source, int64_t axis, bool largest, DLTensor* values, DLTensor* indices) {
  require(axis >= 0 && axis < source->ndim && is_contiguous(source) && is_contiguous(values) &&
              is_contiguous(indices) && same_type(source, values) && is_int64(indices) && same_shape(values, indices) &&
              values->ndim == source->ndim,
          "top_k: types and axes");
  for (int d = 0; d < source->ndim; ++d)
    require(d == axis ? values->shape[d] <= source->shape[d] : values->shape[d] == source->shape[d], "top_k: sizes");
  const Rows from(source, axis), to(values, axis);
  with_element_type(source->dtype, [&](auto type) {
    using T = decltype(type);
    std::vector<int64_t> order(static_cast<size_t>(from.count));
    for (int64_t row = 0; row < from.rows; ++row) {
      const T* x = data<T>(source) + from.start(row);
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + to.count, order.end(), [&](int64_t i, int64_t j) {
        const T a = x[i * from.stride], b = x[j * from.stride];
        if (comes_first(a, b, largest)) return true;
        if (comes_first(b, a, largest)) return false;
        return i < j;
      });
      T* value = data<T>(values) + to.start(row);
      auto* index = data<int64_t>(indices) + to.start(row);
      for (int64_t i = 0; i < to.count; ++i) {
        index[i * to.stride] = order[static_cast<size_t>(i)];
        value[i * to.stride] = x[order[static_cast<size_t>(i)] * from.stride];
      }
    }
  });
}

// Writes the sums or products of the elements up to each one along an axis. An exclusive one lacks its own element.
template <typename Combine>
void cumulate(DLTensor* source, int64_t axis, bool exclusive, bool reverse, int first, DLTensor* out,
              Combine&& combine) {
  require(alike(source, out) && axis >= 0 && axis < source->ndim, "cumulative: types, sizes and axis");
  const Rows rows(source, axis);
  with_element_type(source->dtype, [&](auto type) {
    using T = decltype(type);
    for (int64_t row = 0; row < rows.rows; ++row) {
      const T* x = data<T>(source) + rows.start(row);
      T* y = data<T>(out) + rows.start(row);
      T total = static_cast<T>(first);
      for (int64_t i = 0; i < rows.count; ++i) {
        const int64_t place = (reverse ? rows.count - 1 - i : i) * rows.stride;
        const T next = combine(total, x[place]);
        y[place] = exclusive ? total : next;
        total = next;
      }
    }
  });
}

void cumulative_sum(DLTensor* source, int64_t axis, bool exclusive, bool reverse, DLTensor* out) {
  cumulate(source, axis, exclusive, reverse, 0, out,
           [](auto a, auto b) { return wrapping(a, b, [](auto x, auto y) { return x + y; }); });
}

void cumulative_product(DLTensor* source, int64_t axis, bool exclusive, bool reverse, DLTensor* out) {
  cumulate(source, axis, exclusive, reverse, 1, out,
           [](auto a, auto b) { return wrapping(a, b, [](auto x, auto y) { return x * y; }); });
}

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("loopwright.top_k", &top_k)
      .def("loopwright.cumulative_sum", &cumulative_sum)
      .def("loopwright.cumulative_product", &cumulative_product);
}

}  // namespace
}  // namespace loopwright
