// A matrix in the caller's memory: rows of elements that follow each other.
#pragma once

#include <cstdint>

#include "loopwright/dtype.h"

namespace loopwright {

struct Matrix {
  void* data;      // null where there is none
  int64_t stride;  // elements from row to row
  Dtype dtype = Dtype::kFloat32;

  void* address(int64_t row, int64_t column) const {
    return static_cast<char*>(data) + (row * stride + column) * element_bytes(dtype);
  }
  // T is what the dtype says.
  template <class T>
  T* at(int64_t row, int64_t column) const {
    return static_cast<T*>(address(row, column));
  }
};

}  // namespace loopwright
