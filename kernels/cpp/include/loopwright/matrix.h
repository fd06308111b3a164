// A matrix in the caller's memory. The elements of a row are contiguous.
#pragma once

#include <cstdint>

#include "loopwright/dtype.h"

namespace loopwright {

struct Matrix {
  void* data;      // null if absent
  int64_t stride;  // elements from row to row
  Dtype dtype = Dtype::kFloat32;

  void* address(int64_t row, int64_t column) const {
    return static_cast<char*>(data) + (row * stride + column) * element_bytes(dtype);
  }
  // T must match the dtype.
  template <class T>
  T* at(int64_t row, int64_t column) const {
    return static_cast<T*>(address(row, column));
  }
};

}  // namespace loopwright
