#include "loopwright/dense.h"

#include <algorithm>
#include <stdexcept>

#include "core/schedule_checks.h"
#include "packed_dense.h"
#include "strassen.h"

namespace loopwright {
namespace {

DenseSchedule checked(DenseSchedule s, int64_t k, Isa isa, Dtype dtype, int threads) {
  const KernelTable& kernels = kernel_table(isa, dtype);
  check_register_tile(kernels, s.mr, s.nr, isa, true);
  check_narrow_tile(kernels, s.nr, s.kc, k);
  check_integer_sum(dtype, s.kc, k);
  check_blocks("mc, kc and nc", {s.mc, s.kc, s.nc});
  if (s.prefetch < 0) throw std::invalid_argument("schedule: prefetch must be at least 0");
  s.threads = checked_split(s.threads, threads);
  return s;
}

}  // namespace

DenseWeights::DenseWeights(const Matrix& weight, int64_t n, int64_t k, const LayerEpilogue& epilogue, Target target)
    : weight_(weight), n_(n), k_(k), epilogue_(epilogue), target_(std::move(target)) {
  check_dtype(weight.dtype, target_);
  check_epilogue(epilogue);
  check_quantization(epilogue.quantization, weight.dtype, n, k);
}

DenseWeights::~DenseWeights() = default;

std::shared_ptr<const DensePanels> DenseWeights::panels(int nr, int threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& packed : panels_)
    if (packed->nr == nr) return packed;
  return panels_.emplace_back(std::make_shared<const DensePanels>(weight_, n_, k_, epilogue_, target_, nr, threads));
}

std::shared_ptr<const Strassen> DenseWeights::strassen(int threads_n) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [threads, packed] : strassen_)
    if (threads == threads_n) return packed;
  auto packed = std::make_shared<const Strassen>(weight_, n_, k_, epilogue_, target_, threads_n);
  return strassen_.emplace_back(threads_n, std::move(packed)).second;
}

// Has either `direct` or `strassen`.
class Dense::Implementation {
 public:
  Implementation(DenseWeights& weights, int threads, const std::optional<DenseSchedule>& schedule)
      : n(weights.n_), k(weights.k_), dtypes(weights.weight_.dtype, weights.epilogue_.quantization), fixed(schedule) {
    const Dtype dtype = weights.weight_.dtype;
    const bool reference = weights.target_ == Isa::kReference;
    if (fixed && !reference) fixed = checked(*fixed, k, weights.target_, dtype, threads);
    if (fixed && fixed->algorithm == DenseSchedule::Algorithm::kStrassen) {
      strassen = weights.strassen(fixed->threads.n);
      return;
    }
    const int nr = fixed && !reference ? fixed->nr : default_dense_width(weights.target_, dtype, n, k, threads);
    direct.emplace(weights.panels(nr, threads), threads, fixed);
  }

  void run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual) const {
    if (strassen) return strassen->run(x, m, out, residual, fixed->threads.m);
    direct->run(x, m, out, residual);
  }

  int64_t n, k;
  LayerDtypes dtypes;
  std::optional<DenseSchedule> fixed;
  std::optional<PackedDense> direct;
  std::shared_ptr<const Strassen> strassen;
};

Dense::Dense(DenseWeights& weights, int threads, const std::optional<DenseSchedule>& schedule)
    : implementation_(std::make_unique<const Implementation>(weights, threads, schedule)) {}

Dense::Dense(const Matrix& weight, int64_t n, int64_t k, const LayerEpilogue& epilogue, Target target, int threads,
             const std::optional<DenseSchedule>& schedule) {
  DenseWeights weights(weight, n, k, epilogue, std::move(target));
  implementation_ = std::make_unique<const Implementation>(weights, threads, schedule);
}

Dense::Dense(Dense&&) noexcept = default;
Dense::~Dense() = default;

void Dense::run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual) const {
  implementation_->run(x, m, out, residual);
}

void Dense::evict_weights() const {
  if (implementation_->strassen) return implementation_->strassen->evict_weights();
  implementation_->direct->evict_weights();
}

int64_t Dense::n() const { return implementation_->n; }
int64_t Dense::k() const { return implementation_->k; }
const LayerDtypes& Dense::dtypes() const { return implementation_->dtypes; }

DenseSchedule Dense::schedule(int64_t m) const {
  return implementation_->strassen ? *implementation_->fixed : implementation_->direct->schedule(m);
}

}  // namespace loopwright
