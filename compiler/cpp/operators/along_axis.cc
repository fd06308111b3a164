// Operators that run along an axis one element after the other: TopK, CumSum, CumProd.
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "../generated_code.h"
#include "../tensors.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

constexpr int64_t kComparisons = 8;  // a comparison of two elements, relative to reading one

// Returns the number of threads for an operator that reads and writes so many elements, in rows of equal work.
int threads_for(int64_t elements, int64_t rows) {
  return static_cast<int>(
      std::min<int64_t>(threads_worth(elements, generated_code_threads()), std::max<int64_t>(rows, 1)));
}

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
  const auto width = static_cast<size_t>(from.count);
  const int threads = threads_for(kComparisons * size(source), from.rows);
  std::vector<int64_t> orders(width * static_cast<size_t>(threads));
  with_element_type(source->dtype, [&](auto type) {
    using T = decltype(type);
    parallel(threads, [&](int t) {
      const auto order = orders.begin() + static_cast<int64_t>(width) * t;
      for (int64_t row = from.rows * t / threads; row < from.rows * (t + 1) / threads; ++row) {
        const T* x = data<T>(source) + from.start(row);
        std::iota(order, order + from.count, 0);
        std::partial_sort(order, order + to.count, order + from.count, [&](int64_t i, int64_t j) {
          const T a = x[i * from.stride], b = x[j * from.stride];
          if (comes_first(a, b, largest)) return true;
          if (comes_first(b, a, largest)) return false;
          return i < j;
        });
        T* value = data<T>(values) + to.start(row);
        auto* index = data<int64_t>(indices) + to.start(row);
        for (int64_t i = 0; i < to.count; ++i) {
          index[i * to.stride] = order[i];
          value[i * to.stride] = x[order[i] * from.stride];
        }
      }
    });
  });
}

// Writes the sums or products of the elements up to each one along an axis. An exclusive one lacks its own element.
template <typename Combine>
void cumulate(DLTensor* source, int64_t axis, bool exclusive, bool reverse, int initial, DLTensor* out,
              Combine&& combine) {
  require(alike(source, out) && axis >= 0 && axis < source->ndim, "cumulative: types, sizes and axis");
  const Rows rows(source, axis);
  if (rows.count == 0) return;
  const int threads = threads_for(2 * size(source), rows.rows);
  with_element_type(source->dtype, [&](auto type) {
    using T = decltype(type);
    // One row after the other, with its total in a register.
    const auto cumulate_row = [&](int64_t row) {
      const T* x = data<T>(source) + rows.start(row);
      T* y = data<T>(out) + rows.start(row);
      T total = static_cast<T>(initial);
      for (int64_t i = 0; i < rows.count; ++i) {
        const int64_t place = reverse ? rows.count - 1 - i : i;
        const T next = combine(total, x[place]);
        y[place] = exclusive ? total : next;
        total = next;
      }
    };
    // Rows that are next to each other in memory, together: an element is the one before it along the axis, combined.
    const auto cumulate_rows = [&](int64_t first, int64_t count) {
      const T* __restrict__ x = data<T>(source) + rows.start(first);
      T* y = data<T>(out) + rows.start(first);
      for (int64_t i = 0; i < rows.count; ++i) {
        const int64_t place = (reverse ? rows.count - 1 - i : i) * rows.stride;
        const int64_t before = place + (reverse ? rows.stride : -rows.stride);
        const T* total = y + before;
        T* next = y + place;
        if (i == 0)
          for (int64_t c = 0; c < count; ++c)
            next[c] = exclusive ? static_cast<T>(initial) : combine(static_cast<T>(initial), x[place + c]);
        else if (exclusive)
          for (int64_t c = 0; c < count; ++c) next[c] = combine(total[c], x[before + c]);
        else
          for (int64_t c = 0; c < count; ++c) next[c] = combine(total[c], x[place + c]);
      }
    };
    parallel(threads, [&](int t) {
      const int64_t last = rows.rows * (t + 1) / threads;
      for (int64_t row = rows.rows * t / threads; row < last;) {
        const int64_t count = std::min(rows.stride - row % rows.stride, last - row);
        rows.stride == 1 ? cumulate_row(row) : cumulate_rows(row, count);
        row += count;
      }
    });
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
