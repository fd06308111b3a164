#include "loopwright/dense.h"

#include "packed_dense.h"

namespace loopwright {

Dense::Dense(const Matrix& weight, int64_t n, int64_t k, const float* bias, Activation activation, Isa isa, int threads,
             const std::optional<DenseSchedule>& schedule)
    : packed_(std::make_unique<PackedDense>(weight, n, k, bias, activation, isa, threads, schedule)) {}

Dense::Dense(Dense&&) noexcept = default;
Dense::~Dense() = default;

void Dense::run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual) const {
  packed_->run(x, m, out, residual);
}

void Dense::evict_weights() const { packed_->evict_weights(); }
int64_t Dense::n() const { return packed_->n(); }
int64_t Dense::k() const { return packed_->k(); }
Dtype Dense::dtype() const { return packed_->dtype(); }
DenseSchedule Dense::schedule(int64_t m) const { return packed_->schedule(m); }

}  // namespace loopwright
