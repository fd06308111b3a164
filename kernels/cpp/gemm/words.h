// Factors as the microkernels read them, in words of four bytes: one float32, or two bfloat16 that follow each other in
// k. What is not a whole number of words is filled up with a zero, which adds nothing to a sum.
//
// Words have the type float for the sake of one microkernel; nobody calculates with them as such.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/split.h"
#include "loopwright/matrix.h"

namespace loopwright {

constexpr int64_t kWordBytes = sizeof(float);

constexpr int64_t elements_per_word(Dtype dtype) { return kWordBytes / element_bytes(dtype); }

// Words that so many elements take.
constexpr int64_t to_words(int64_t elements, Dtype dtype) { return ceil_div(elements, elements_per_word(dtype)); }

// Whether rows of k elements can be read as words where they lie.
inline bool are_words(const Matrix& rows, int64_t k) {
  const int64_t per_word = elements_per_word(rows.dtype);
  return reinterpret_cast<uintptr_t>(rows.data) % kWordBytes == 0 && rows.stride % per_word == 0 && k % per_word == 0;
}

// Writes to_words(count) words, of at least one element.
inline void copy_to_words(const void* elements, int64_t count, Dtype dtype, float* words) {
  words[to_words(count, dtype) - 1] = 0.0f;
  std::memcpy(words, elements, static_cast<size_t>(count * element_bytes(dtype)));
}

}  // namespace loopwright
