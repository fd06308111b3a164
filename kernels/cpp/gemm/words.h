// Words: the microkernels read factors in words of four bytes, one float32 or two bfloat16 that are consecutive in k. An
// incomplete word is padded with zero, which adds nothing to a sum.
//
// Words have the type float, so that there is one microkernel for all dtypes. They are not used as numbers.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/split.h"
#include "loopwright/matrix.h"

namespace loopwright {

constexpr int64_t kWordBytes = sizeof(float);

constexpr int64_t elements_per_word(Dtype dtype) { return kWordBytes / element_bytes(dtype); }

// Returns the words of this number of elements.
constexpr int64_t to_words(int64_t elements, Dtype dtype) { return ceil_div(elements, elements_per_word(dtype)); }

// Whether rows of k elements can be read as words in place.
inline bool are_words(const Matrix& rows, int64_t k) {
  const int64_t per_word = elements_per_word(rows.dtype);
  return reinterpret_cast<uintptr_t>(rows.data) % kWordBytes == 0 && rows.stride % per_word == 0 && k % per_word == 0;
}

// Stores to_words(count) words. `count` must be at least 1.
inline void copy_to_words(const void* elements, int64_t count, Dtype dtype, float* words) {
  words[to_words(count, dtype) - 1] = 0.0f;
  std::memcpy(words, elements, static_cast<size_t>(count * element_bytes(dtype)));
}

}  // namespace loopwright
