// Access to the elements of tensors that programs pass to functions.
#pragma once

#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace loopwright {

template <typename T>
T* data(const DLTensor* tensor) {
  return reinterpret_cast<T*>(static_cast<char*>(tensor->data) + tensor->byte_offset);
}

inline int64_t product(const int64_t* sizes, int from, int to) {
  int64_t count = 1;
  for (int i = from; i < to; ++i) count *= sizes[i];
  return count;
}

inline int64_t size(const DLTensor* tensor) { return product(tensor->shape, 0, tensor->ndim); }

// Throws ValueError unless `ok`. Programs on disk may be damaged, so functions check what they are called with.
inline void require(bool ok, const char* what) {
  if (!ok) TVM_FFI_THROW(ValueError) << "a program calls a function incorrectly: " << what;
}

inline bool is_contiguous(const DLTensor* tensor) { return tvm::ffi::IsContiguous(*tensor); }

inline bool is_int64(const DLTensor* tensor) {
  return tensor->dtype.code == kDLInt && tensor->dtype.bits == 64 && tensor->dtype.lanes == 1;
}

inline bool same_type(const DLTensor* a, const DLTensor* b) {
  return a->dtype.code == b->dtype.code && a->dtype.bits == b->dtype.bits && a->dtype.lanes == b->dtype.lanes;
}

inline bool same_shape(const DLTensor* a, const DLTensor* b) {
  return a->ndim == b->ndim && std::equal(a->shape, a->shape + a->ndim, b->shape);
}

// Whether both are contiguous, of one type and of one shape.
inline bool alike(const DLTensor* a, const DLTensor* b) {
  return same_type(a, b) && same_shape(a, b) && is_contiguous(a) && is_contiguous(b);
}

// Calls function(T{}) with an integer type of 8 to 64 bits. Returns whether `dtype` is one.
template <typename F>
bool with_integer_type(DLDataType dtype, F&& function) {
  const bool is_signed = dtype.code == kDLInt;
  if (dtype.lanes != 1 || !(is_signed || dtype.code == kDLUInt)) return false;
  switch (dtype.bits) {
    case 8: return is_signed ? function(int8_t{}) : function(uint8_t{}), true;
    case 16: return is_signed ? function(int16_t{}) : function(uint16_t{}), true;
    case 32: return is_signed ? function(int32_t{}) : function(uint32_t{}), true;
    case 64: return is_signed ? function(int64_t{}) : function(uint64_t{}), true;
    default: return false;
  }
}

// Calls function(T{}) with the type of the elements: float, double, or an integer of 8 to 64 bits; bool is uint8_t.
// Throws TypeError for another type.
template <typename F>
void with_element_type(DLDataType dtype, F&& function) {
  if (dtype.lanes == 1 && dtype.code == kDLFloat && dtype.bits == 32) return function(float{});
  if (dtype.lanes == 1 && dtype.code == kDLFloat && dtype.bits == 64) return function(double{});
  if (dtype.lanes == 1 && dtype.code == kDLBool && dtype.bits == 8) return function(uint8_t{});
  if (!with_integer_type(dtype, function))
    TVM_FFI_THROW(TypeError) << "elements must be float32, float64, bool, or integers of 8 to 64 bits";
}

// Returns function(a, b) modulo 2^n for integers, whose signed overflow is undefined.
template <typename T, typename F>
T wrapping(T a, T b, F&& function) {
  if constexpr (std::is_floating_point_v<T>)
    return function(a, b);
  else  // in 64 bits, because shorter types would be promoted to int
    return static_cast<T>(function(static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
}

template <typename T>
bool is_nan(T x) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(x);
  else
    return false;
}

}  // namespace loopwright
