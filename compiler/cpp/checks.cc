// Checks of data that generated code uses as indices, divisors or sizes. A program calls them before that code, which
// would otherwise read or write outside a tensor, or end the process. Each takes its output last.
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include "tensors.h"

namespace loopwright {
namespace {

using tvm::ffi::Shape;
using tvm::ffi::ShapeView;
using tvm::ffi::String;

// Throws ValueError unless both tensors have the same data type and number of elements, in memory without gaps.
void require_copyable(const DLTensor* from, const DLTensor* to, const String& node) {
  if (!same_type(from, to) || size(from) != size(to) || !is_contiguous(from) || !is_contiguous(to))
    TVM_FFI_THROW(ValueError) << node << ": a checked tensor and its copy need the same data type and size";
}

// As loopwright::with_integer_type, but throws TypeError for another type.
template <typename F>
void require_integer_type(DLDataType dtype, const String& node, F&& function) {
  if (!with_integer_type(dtype, function))
    TVM_FFI_THROW(TypeError) << node << ": the data type must be an integer of 8 to 64 bits";
}

std::string dimensions(const int64_t* sizes, int64_t count) {
  if (count == 0) return "those of a scalar";
  std::string text;
  for (int64_t i = 0; i < count; ++i) text += (i ? "x" : "") + std::to_string(sizes[i]);
  return text;
}

// Returns the index from 0 to limit - 1, if `index` is in range. Then the sign bit of `bad` stays 0; otherwise it becomes
// 1. There is no comparison, so that loops become vector code, also for 64 bits.
template <typename T>
T wrapped_index(T index, T limit, std::make_unsigned_t<T>& bad) {
  using Unsigned = std::make_unsigned_t<T>;
  constexpr int kSign = std::numeric_limits<T>::digits;
  const auto wrapped =
      static_cast<Unsigned>(index) + (static_cast<Unsigned>(limit) & static_cast<Unsigned>(index >> kSign));
  bad |= wrapped | (static_cast<Unsigned>(limit) - 1 - wrapped);
  return static_cast<T>(wrapped);
}

template <typename T>
[[noreturn]] void throw_index_error(const T* indices, int64_t count, ShapeView limits, const String& node) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t limit = limits[static_cast<size_t>(i % static_cast<int64_t>(limits.size()))];
    const int64_t index = indices[i];
    if (index >= -limit && index < limit) continue;
    if (limit == 0)
      TVM_FFI_THROW(ValueError) << node << ": index " << index
                                << " is out of range for an axis of size 0, which has no valid index";
    TVM_FFI_THROW(ValueError) << node << ": index " << index << " is out of range for an axis of size " << limit
                              << "; it must be from " << -limit << " to " << limit - 1;
  }
  TVM_FFI_THROW(InternalError) << node << ": no index is out of range";
  TVM_FFI_UNREACHABLE();
}

template <typename T>
void copy_indices(const DLTensor* indices, ShapeView limits, const String& node, DLTensor* out) {
  for (const int64_t limit : limits)
    if (limit < 0 || limit > std::numeric_limits<T>::max())
      TVM_FFI_THROW(ValueError) << node << ": an axis of size " << limit << " needs int64 indices";
  const T* from = data<T>(indices);
  T* to = data<T>(out);
  const int64_t count = size(indices);
  const auto components = static_cast<int64_t>(limits.size());
  std::make_unsigned_t<T> bad = 0;
  if (components == 1) {
    const T limit = static_cast<T>(limits[0]);
    for (int64_t i = 0; i < count; ++i) to[i] = wrapped_index(from[i], limit, bad);
  } else {
    for (int64_t c = 0; c < components; ++c) {
      const T limit = static_cast<T>(limits[static_cast<size_t>(c)]);
      for (int64_t i = c; i < count; i += components) to[i] = wrapped_index(from[i], limit, bad);
    }
  }
  if (bad >> std::numeric_limits<T>::digits) throw_index_error(from, count, limits, node);
}

// Writes the indices to `out`, negative ones plus the size of their axis. `limits` has that size: one for all indices, or
// one for each place of the last axis of `indices`, as in GatherND. Throws ValueError for an index out of range.
void checked_indices(DLTensor* indices, const Shape& limits, const String& node, DLTensor* out) {
  require_copyable(indices, out, node);
  const auto components = static_cast<int64_t>(limits.size());
  if (components != 1 && (indices->ndim == 0 || components != indices->shape[indices->ndim - 1]))
    TVM_FFI_THROW(ValueError) << node << ": " << components << " sizes do not match the last axis of the indices";
  if (size(indices) == 0) return;
  require_integer_type(indices->dtype, node, [&](auto type) {
    using T = decltype(type);
    if constexpr (std::is_same_v<T, int32_t> || std::is_same_v<T, int64_t>)
      copy_indices<T>(indices, limits, node, out);
    else
      TVM_FFI_THROW(TypeError) << node << ": indices must be int32 or int64";
  });
}

// Copies integers to `out`. Throws ValueError if one is 0: the CPU would end the process.
void checked_divisors(DLTensor* divisors, const String& node, DLTensor* out) {
  require_copyable(divisors, out, node);
  require_integer_type(divisors->dtype, node, [&](auto type) {
    using T = decltype(type);
    const T* from = data<T>(divisors);
    T* to = data<T>(out);
    const int64_t count = size(divisors);
    T zero = 0;
    for (int64_t i = 0; i < count; ++i) {
      zero = static_cast<T>(zero | static_cast<T>(from[i] == 0));
      to[i] = from[i];
    }
    if (zero) TVM_FFI_THROW(ValueError) << node << ": division of integers by zero";
  });
}

// Copies `value` to `out` if `sizes`, int64 of rank 1, are those that the model was compiled for. Throws ValueError
// otherwise.
void checked_sizes(DLTensor* value, DLTensor* sizes, const Shape& expected, const String& node, DLTensor* out) {
  require_copyable(value, out, node);
  if (!is_int64(sizes) || sizes->ndim != 1 || !is_contiguous(sizes))
    TVM_FFI_THROW(TypeError) << node << ": sizes must be a vector of int64";
  const auto* found = data<int64_t>(sizes);
  const int64_t count = sizes->shape[0];
  bool equal = count == static_cast<int64_t>(expected.size());
  for (int64_t i = 0; equal && i < count; ++i) equal = found[i] == expected[static_cast<size_t>(i)];
  if (!equal)
    TVM_FFI_THROW(ValueError) << node << ": the sizes are " << dimensions(found, count)
                              << " at run time, but the model was compiled for "
                              << dimensions(expected.data(), static_cast<int64_t>(expected.size()));
  const size_t bytes = tvm::ffi::GetDataSize(*value);
  if (bytes > 0) std::memcpy(data<char>(out), data<char>(value), bytes);
}

// Stands for a tensor without elements: the caller has made it, and there is nothing to write.
void no_elements(DLTensor* out) {
  if (size(out) != 0) TVM_FFI_THROW(ValueError) << "a tensor without elements has a size of 0";
}

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("loopwright.no_elements", &no_elements)
      .def("loopwright.checked_indices", &checked_indices)
      .def("loopwright.checked_divisors", &checked_divisors)
      .def("loopwright.checked_sizes", &checked_sizes);
}

}  // namespace
}  // namespace loopwright
