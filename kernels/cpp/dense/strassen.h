// Dense layers by Strassen's algorithm: seven products of half the sizes instead of eight (Strassen: Gaussian Elimination
// is not Optimal, 1969), in Winograd's form with fifteen sums of quarters. One level.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "loopwright/layer_epilogue.h"
#include "loopwright/matrix.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

class Strassen {
 public:
  // Whether the sizes can be halved: k must be even, and n a multiple of two vectors for each of the `threads_n` threads that
  // split the columns.
  static bool applies(Isa isa, Dtype dtype, int64_t n, int64_t k, int threads_n);

  // weight (n, k) in float32. Copies it and the epilogue. Throws std::invalid_argument if applies() is false.
  Strassen(const Matrix& weight, int64_t n, int64_t k, const LayerEpilogue& epilogue, const Target& target,
           int threads_n);
  ~Strassen();

  // Like Dense::run, in float32, on threads_m × threads_n threads. threads_m threads split the rows.
  void run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual, int threads_m) const;

  void evict_weights() const;

 private:
  struct Part;
  struct Work;
  void run_rows(const Part& part, const Work& work, const Matrix& x, int64_t row, int64_t rows, const Matrix& out,
                const Matrix& residual) const;
  void sum_quarters(const Work& work, const Matrix& x, int64_t row, int64_t rows) const;
  int64_t rows_at_once() const;
  Work work(float* floats) const;

  int64_t n_, k_;
  Activation activation_;
  std::vector<float> slopes_;  // of kPrelu
  const KernelTable& kernels_;
  int threads_n_;
  int64_t widest_ = 0;  // the most columns of half a part
  std::vector<Part> parts_;
};

}  // namespace loopwright
