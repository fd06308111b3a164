// Words: the microkernels read factors in words of four bytes, of tile_k elements that are consecutive in k. An incomplete
// word of the weights is padded with zero, which adds nothing to a sum.
//
//   float32   1 element
//   bfloat16  2 elements
//   int8      2 int16, which are 8-bit integers without their zero point; or 4 bytes, unsigned in the input and signed in the
//             weights, if the instructions multiply bytes (KernelTable::tile_k)
//
// Words have the type float, so that loops and microkernels have one form for all dtypes. They are not used as numbers.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/split.h"
#include "loopwright/matrix.h"

namespace loopwright {

constexpr int64_t kWordBytes = sizeof(float);
constexpr int kBytesPerWord = 4;  // tile_k of words of bytes

// Returns the words of this number of elements.
constexpr int64_t to_words(int64_t elements, int tile_k) { return ceil_div(elements, tile_k); }

// Whether rows of k elements can be read as words in place.
inline bool are_words(const Matrix& rows, int64_t k, int tile_k) {
  if (is_integer(rows.dtype) && (rows.dtype == Dtype::kInt8 || tile_k != kBytesPerWord)) return false;
  return element_bytes(rows.dtype) * tile_k == kWordBytes && reinterpret_cast<uintptr_t>(rows.data) % kWordBytes == 0 &&
         rows.stride % tile_k == 0 && k % tile_k == 0;
}

// Stores to_words(count, tile_k) words of weights. `count` must be at least 1.
inline void copy_to_words(const void* elements, int64_t count, Dtype dtype, int tile_k, float* words) {
  words[to_words(count, tile_k) - 1] = 0.0f;
  if (dtype != Dtype::kInt8 || tile_k == kBytesPerWord) {
    std::memcpy(words, elements, static_cast<size_t>(count * element_bytes(dtype)));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const int16_t wide = static_cast<const int8_t*>(elements)[i];
    std::memcpy(reinterpret_cast<char*>(words) + i * sizeof(wide), &wide, sizeof(wide));
  }
}

}  // namespace loopwright
