// ScatterElements and ScatterND. The indices were checked before; see checks.cc.
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "../generated_code.h"
#include "../tensors.h"
#include "loopwright/thread_pool.h"

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

constexpr int64_t kLineBytes = 64;
constexpr int64_t kFewestColumns = 16;  // for a thread; with fewer, threads divide the rows of the output

// Returns the part of 0 to `count` of a thread, whose ends are multiples of `unit`.
std::pair<int64_t, int64_t> share(int64_t count, int threads, int thread, int64_t unit) {
  const int64_t units = (count + unit - 1) / unit;
  const auto end = [&](int t) { return std::min(units * t / threads * unit, count); };
  return {end(thread), end(thread + 1)};
}

void copy(const DLTensor* from, DLTensor* to, int threads) {
  const auto bytes = static_cast<int64_t>(tvm::ffi::GetDataSize(*from));
  parallel(threads, [&](int t) {
    const auto [first, last] = share(bytes, threads, t, kLineBytes);
    if (last > first) std::memcpy(data<char>(to) + first, data<char>(from) + first, static_cast<size_t>(last - first));
  });
}

// Throws ValueError unless each index i is from 0 to limits[i % count] - 1.
void require_range(const DLTensor* indices, const int64_t* limits, int64_t count) {
  const auto* places = data<int64_t>(indices);
  const int64_t total = size(indices);
  bool ok = true;
  for (int64_t k = 0; k < count; ++k)
    for (int64_t i = k; i < total; i += count) ok &= places[i] >= 0 && places[i] < limits[k];
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

// Updates of a tensor along an axis. The output is [outer][to][inner], the updates are [outer][from][inner]. An index is
// one of `to`; there is one for each update, or one for each row of `inner` updates.
struct Updates {
  int64_t outer, from, to, inner;
  bool by_rows;
};

// Combines the updates with elements of the output, of the columns `first` to `last` and the rows `low` to `high` of each
// [to][inner]. Updates of one element are combined in their order, so the result does not depend on how the elements are
// divided.
template <typename T, typename Combine>
void combine_part(const Updates& u, const int64_t* indices, const T* updates, T* out, int64_t first, int64_t last,
                  int64_t low, int64_t high, Combine&& combined) {
  for (int64_t o = 0; o < u.outer; ++o) {
    T* image = out + o * u.to * u.inner;
    for (int64_t e = 0; e < u.from; ++e) {
      const int64_t row = o * u.from + e;
      const T* __restrict__ update = updates + row * u.inner;
      if (u.by_rows) {
        if (indices[row] < low || indices[row] >= high) continue;
        T* __restrict__ element = image + indices[row] * u.inner;
        for (int64_t i = first; i < last; ++i) element[i] = combined(element[i], update[i]);
      } else {
        const int64_t* index = indices + row * u.inner;
        for (int64_t i = first; i < last; ++i) {
          if (index[i] < low || index[i] >= high) continue;
          T& element = image[index[i] * u.inner + i];
          element = combined(element, update[i]);
        }
      }
    }
  }
}

// Combines all updates. Threads divide the outermost axis, or the columns, or the rows of the output.
template <typename T, typename Combine>
void combine(const Updates& u, const int64_t* indices, const T* updates, T* out, int threads, Combine&& combined) {
  parallel(threads, [&](int t) {
    Updates own = u;
    int64_t first = 0, last = u.inner, low = 0, high = u.to, skipped = 0;
    if (u.outer >= threads) {
      const auto [from, to] = share(u.outer, threads, t, 1);
      own.outer = to - from;
      skipped = from;
    } else if (u.inner >= kFewestColumns * threads) {
      std::tie(first, last) = share(u.inner, threads, t, kFewestColumns);
    } else {
      std::tie(low, high) = share(u.to, threads, t, 1);
    }
    const int64_t rows = skipped * u.from;
    combine_part(own, indices + (u.by_rows ? rows : rows * u.inner), updates + rows * u.inner,
                 out + skipped * u.to * u.inner, first, last, low, high, combined);
  });
}

// Writes to `out` the elements of `source`, and combines the updates.
void scatter(const DLTensor* source, const Updates& u, const int64_t* indices, const DLTensor* updates,
             const String& reduction, DLTensor* out) {
  const int threads = threads_worth(2 * (size(out) + size(updates)), generated_code_threads());
  copy(source, out, threads);
  with_reduction(reduction, [&](auto combined) {
    with_element_type(out->dtype, [&](auto type) {
      using T = decltype(type);
      combine(u, indices, data<T>(updates), data<T>(out), threads, combined);
    });
  });
}

// Writes to `out` the elements of `source`, with the updates combined into the places that the indices, int64, name along
// an axis. The indices have the shape of the updates, or its part up to the axis: then one names the place of a row.
void scatter_elements(DLTensor* source, DLTensor* indices, DLTensor* updates, int64_t axis, const String& reduction,
                      DLTensor* out) {
  require(alike(source, out) && axis >= 0 && axis < out->ndim, "scatter_elements: source and output");
  const bool by_rows = indices->ndim == axis + 1 && indices->ndim < updates->ndim;
  require(is_int64(indices) && same_type(updates, out) && updates->ndim == out->ndim && is_contiguous(indices) &&
              is_contiguous(updates) && (by_rows || indices->ndim == updates->ndim) &&
              std::equal(indices->shape, indices->shape + indices->ndim, updates->shape),
          "scatter_elements: indices and updates");
  bool same = true;  // whether every slice along the axis has an update
  for (int d = 0; d < out->ndim; ++d) {
    require(d == axis || updates->shape[d] <= out->shape[d], "scatter_elements: more indices than elements");
    same &= d == axis || updates->shape[d] == out->shape[d];
  }
  require(same || !by_rows, "scatter_elements: indices of rows with fewer updates than elements");
  require_range(indices, out->shape + axis, 1);
  if (same) {
    const int at = static_cast<int>(axis);
    const Updates u{product(out->shape, 0, at), updates->shape[at], out->shape[at],
                    product(out->shape, at + 1, out->ndim), by_rows};
    scatter(source, u, data<int64_t>(indices), updates, reduction, out);
    return;
  }
  copy(source, out, 1);
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
  require(depth >= 1 && depth <= out->ndim, "scatter_nd: indices");
  const int64_t slice = product(out->shape, depth, out->ndim), rows = product(indices->shape, 0, indices->ndim - 1);
  require(same_type(updates, out) && is_contiguous(updates) && size(updates) == rows * slice, "scatter_nd: updates");
  require_range(indices, out->shape, depth);
  const auto* places = data<int64_t>(indices);
  std::vector<int64_t> flat(static_cast<size_t>(rows));  // the places in the axes that the indices name, as one axis
  for (int64_t row = 0; row < rows; ++row) {
    int64_t place = 0;
    for (int d = 0; d < depth; ++d) place = place * out->shape[d] + places[row * depth + d];
    flat[static_cast<size_t>(row)] = place;
  }
  scatter(source, {1, rows, product(out->shape, 0, depth), slice, true}, flat.data(), updates, reduction, out);
}

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("loopwright.scatter_elements", &scatter_elements)
      .def("loopwright.scatter_nd", &scatter_nd);
}

}  // namespace
}  // namespace loopwright
