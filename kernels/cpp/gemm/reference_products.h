// Sums of products in plain C++, of floats or of integers.
#pragma once

#include <cstdint>

#include "core/buffer.h"
#include "gemm/input_words.h"

namespace loopwright {

class ReferenceProducts {
 public:
  // `rows` rows of k elements. `dtype`: of the layer.
  ReferenceProducts(Dtype dtype, const LayerQuantization& layer, const Matrix& x, int64_t rows, int64_t k)
      : x_(x), integers_(is_integer(dtype)) {
    if (!integers_) return;
    const KernelTable& kernels = kernel_table(Isa::kReference, dtype);
    const InputWords input(kernels, layer, x, rows, k, 1);
    quantization_ = input.quantization();
    stride_ = to_words(k, kernels.tile_k);
    words_ = make_buffer(rows * stride_);
    for (int64_t i = 0; i < rows; ++i) input.copy(x.address(i, 0), k, words_.get() + i * stride_);
  }

  // What the integers of x stand for.
  const Quantization& quantization() const { return quantization_; }

  // Calls f(0) with a sum of the type that add() adds to.
  template <class F>
  void with_sum(const F& f) const {
    integers_ ? f(int32_t{0}) : f(0.0f);
  }

  // Adds the products of `count` elements, from this row and column of x on, and of a weight in words.
  void add(int64_t row, int64_t column, const float* weight, int64_t count, float& sum) const {
    const float* x = x_.at<float>(row, column);
    for (int64_t p = 0; p < count; ++p) sum += x[p] * weight[p];
  }
  void add(int64_t row, int64_t column, const float* weight, int64_t count, int32_t& sum) const {
    const auto* x = reinterpret_cast<const int16_t*>(words_.get() + row * stride_) + column;
    const auto* w = reinterpret_cast<const int16_t*>(weight);
    for (int64_t p = 0; p < count; ++p) sum += x[p] * w[p];
  }

 private:
  Matrix x_;
  bool integers_;
  Quantization quantization_;
  int64_t stride_ = 0;  // words
  Buffer words_;
};

}  // namespace loopwright
