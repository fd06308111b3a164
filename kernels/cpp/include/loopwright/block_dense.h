// Dense layers whose weights are numbers of 2, 4 or 8 bits with a scale and a zero point per block of k:
// y = activation(x · Wᵀ + bias + residual), all in float32. Memory holds the numbers; their values are computed in each run.
#pragma once

#include <cstdint>
#include <memory>

#include "loopwright/layer_epilogue.h"
#include "loopwright/machine_model.h"
#include "loopwright/matrix.h"

namespace loopwright {

// W (n, k), where W[j, p] = (number - zero point) * scale of block p / block of row j.
struct BlockWeight {
  int64_t n, k;
  int bits;                    // 2, 4 or 8
  int64_t block;               // numbers per block; the last one of a row may be shorter
  const uint8_t* numbers;      // (n, row_bytes()): those of a row in order, the first one in the lowest bits
  const float* scales;         // (n, blocks())
  const uint8_t* zero_points;  // (n, blocks()), or null: half of the range, 2^(bits - 1)

  // In this order, because a block may be as long as int64 allows.
  int64_t blocks() const { return (k - 1) / block + 1; }
  int64_t row_bytes() const { return (k * bits + 7) / 8; }
};

// Throws std::invalid_argument unless these are legal. What depends on them, such as the sizes of arrays, may be computed then.
void check_blocks(int64_t k, int64_t bits, int64_t block);

class BlockDense {
 public:
  // Copies the weight and the epilogue. Throws std::invalid_argument if the number of bits has no kernel, if a row has several
  // blocks of which each is not whole words of 32 bits, if a zero point exceeds the range, or if the epilogue is not legal.
  BlockDense(const BlockWeight& weight, const LayerEpilogue& epilogue, Target target, int threads);
  BlockDense(BlockDense&&) noexcept;
  ~BlockDense();

  // x (m, k) -> out (m, n), of float32. residual (m, n) has null data if absent. It may be `out` itself, but must not overlap it
  // otherwise; `out` must not overlap x. Thread-safe.
  void run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual) const;

  int64_t n() const;
  int64_t k() const;
  LayerDtypes dtypes() const { return {Dtype::kFloat32, {}}; }
  Activation activation() const;

 private:
  class Implementation;
  std::unique_ptr<const Implementation> implementation_;
};

}  // namespace loopwright
