// The product of rows with the weights of gates, in the layout of microkernels/recurrent.h.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "gemm/panels.h"
#include "loopwright/isa.h"

namespace loopwright {

class GateProduct {
 public:
  // The vectors of a panel, if blocks of gates divide them. For one row they have accumulators enough to hide the latency of
  // FMAs.
  static constexpr int kVectors = 4;

  // weight: row g * units + u has the k weights of gate g of unit u. bias: one float per row, or null. Copies both. The
  // blocks of units are divided into `parts` parts, which different threads may compute.
  GateProduct(const float* weight, const float* bias, int gates, int64_t units, int64_t k, Isa isa, int parts);

  // Rows of floats, `stride` floats apart.
  template <class T>
  struct Rows {
    T* data;
    int64_t stride;
  };

  // out = a · weightᵀ + bias for the columns of one part, or of all parts if `part` is -1. With `backwards` the last panel
  // comes first: weights that do not fit a cache should be read in alternating order, because the cache still has those
  // that were read last.
  void run(Rows<const float> a, int64_t rows, int part, Rows<float> out, bool backwards = false) const;

  // The same for rows of zeros. Returns false without a result if a weight is not finite, because its product with zero is
  // NaN.
  bool run_on_zeros(int64_t rows, int part, Rows<float> out) const;

 private:
  // The panels of a part.
  struct Range {
    int64_t begin, end;
  };
  Range range(int part) const;
  void run_reference(Rows<const float> a, int64_t rows, int64_t begin, int64_t end, Rows<float> out) const;

  Isa isa_;
  int64_t k_;
  std::vector<Panel> panels_;
  std::vector<int64_t> part_begins_;  // the first panel of each part, and the number of panels
  int widest_ = 0;                    // the most columns of a panel
  bool finite_ = true;
  Buffer weight_, bias_;
};

}  // namespace loopwright
