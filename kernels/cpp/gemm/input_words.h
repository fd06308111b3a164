// The input of a layer in words, and what its integers stand for in one run.
#pragma once

#include <cstdint>
#include <cstring>

#include "gemm/words.h"
#include "loopwright/quantization.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

class InputWords {
 public:
  // `rows` rows of k elements. Input that is quantized by its range is read to find it, on up to `threads`
  // threads.
  InputWords(const KernelTable& kernels, const LayerQuantization& layer, const Matrix& x, int64_t rows, int64_t k,
             int threads);

  // Stores to_words(count, tile_k) words. `count` must be at least 1.
  void copy(const void* elements, int64_t count, float* words) const {
    if (floats_to_bfloat16_) {
      words[to_words(count, kernels_.tile_k) - 1] = 0.0f;
      kernels_.narrow(static_cast<const float*>(elements), 0, reinterpret_cast<Bfloat16*>(words), 0, 1,
                      static_cast<int>(count));
    } else if (floats_to_integers_) {
      kernels_.integer_rows.quantize_to_words(static_cast<const float*>(elements), x_, count, words);
    } else if (is_integer(dtype_)) {
      kernels_.integer_rows.to_words(elements, x_, count, words);
    } else {
      copy_to_words(elements, count, dtype_, kernels_.tile_k, words);
    }
  }
  // Stores the words of adjacent pixels, each of as many words as it needs.
  void copy_pixels(const void* elements, int64_t pixels, int64_t channels, float* words) const {
    if (is_integer(dtype_)) return kernels_.integer_rows.pixels_to_words(elements, x_, pixels, channels, words);
    if (floats_to_bfloat16_ && kernels_.narrow_pixels && channels % 2 == 1 && channels < kernels_.lanes / 2)
      return kernels_.narrow_pixels(static_cast<const float*>(elements), pixels, static_cast<int>(channels),
                                    reinterpret_cast<Bfloat16*>(words));
    const int64_t of_pixel = to_words(channels, kernels_.tile_k);
    const Matrix rows{const_cast<void*>(elements), channels, dtype_};
    for (int64_t i = 0; i < pixels; ++i) copy(rows.address(i, 0), channels, words + i * of_pixel);
  }
  // Stores `count` words that stand for zeros.
  void pad(float* words, int64_t count) const {
    std::memset(words, zero_byte_, static_cast<size_t>(count * kWordBytes));
  }

  // Whether rows of k elements of this input can be read as words in place.
  bool in_place(const Matrix& rows, int64_t k) const {
    return !floats_to_integers_ && !floats_to_bfloat16_ && are_words(rows, k, kernels_.tile_k);
  }

  const Quantization& quantization() const { return x_; }

 private:
  const KernelTable& kernels_;
  Dtype dtype_;
  bool floats_to_integers_, floats_to_bfloat16_;
  Quantization x_;
  int zero_byte_ = 0;  // of words that stand for zeros
};

}  // namespace loopwright
