// Dense layers by Strassen's algorithm: seven products of half the sizes instead of eight (Strassen: Gaussian Elimination
// is not Optimal, 1969), in Winograd's form with fifteen sums of quarters. One level.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "loopwright/matrix.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

class Strassen {
 public:
  // Whether the sizes can be halved: k must be even, and n a multiple of two vectors per thread that shares columns.
  static bool applies(Isa isa, Dtype dtype, int64_t n, int64_t k, int threads, int threads_m);

  // weight (n, k) in float32, bias n floats or null. Copies both. threads_m of the threads split the rows, the others the
  // columns. Throws std::invalid_argument if applies() is false.
  Strassen(const Matrix& weight, int64_t n, int64_t k, const float* bias, Activation activation, Isa isa, int threads,
           int threads_m);
  ~Strassen();

  // Like Dense::run, in float32.
  void run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual) const;

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
  const KernelTable& kernels_;
  int threads_, threads_m_;
  int64_t widest_ = 0;  // the most columns of half a part
  std::vector<Part> parts_;
};

}  // namespace loopwright
