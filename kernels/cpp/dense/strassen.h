// A dense layer by seven products of half the sizes instead of eight (Strassen, Gaussian Elimination is not Optimal,
// 1969; Winograd's form, with fifteen sums of quarters). One level of it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "loopwright/matrix.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

class Strassen {
 public:
  // Whether sizes can be halved: k is even, and n a multiple of two vectors for each of the threads that share it.
  static bool applies(Isa isa, Dtype dtype, int64_t n, int64_t k, int threads, int threads_m);

  // weight (n, k) with rows `weight.stride` apart, float32; bias n floats or null. Both are copied. threads_m of the
  // threads share the rows, the rest the columns. Throws std::invalid_argument where it does not apply.
  Strassen(const Matrix& weight, int64_t n, int64_t k, const float* bias, Activation activation, Isa isa, int threads,
           int threads_m);
  ~Strassen();

  // As Dense::run, on float32.
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
  int64_t widest_ = 0;  // columns of half a part
  std::vector<Part> parts_;
};

}  // namespace loopwright
