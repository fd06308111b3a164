// dense: attributes sizes (m, n, k), residual, activation, fast_algorithms, and those of make.h for the dtype; weights weight,
// bias and slopes (optional), and scales for int8.
#include "loopwright/dense.h"
#include "loopwright/activation.h"
#include "make.h"

namespace loopwright {
namespace {

// What the layers of all sizes share.
struct Shared {
  tvm::ffi::Array<tvm::ffi::Tensor> owner;  // of the raw weights
  DenseWeights weights;

  Shared(const Description& d, int64_t n, int64_t k, const Target& target)
      : owner(d.weights()),
        weights({const_cast<void*>(weight_of(d, "weight", {n, k})), k, dtype_of(d)}, n, k,
                epilogue_of(d, parse_activation(d.optional_text("activation")), n), target) {}
};

class DenseLayer final : public Layer {
 public:
  // `shared` is null for the first layer.
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine,
                                           std::shared_ptr<Shared> shared = nullptr) {
    const auto [m, n, k] = d.sizes<3>("sizes");
    positive("sizes", {m, n, k});
    weight_of(d, "weight", {n, k});  // checks the shape
    const bool residual = d.flag("residual"), fast = d.flag("fast_algorithms"), is_first = !shared;
    if (is_first) shared = std::make_shared<Shared>(d, n, k, machine.target);
    if (shared->weights.activation() != parse_activation(d.optional_text("activation")))
      throw std::invalid_argument("activation must be the same for all sizes");
    std::optional<DenseSchedule> schedule;
    if (const auto values = d.schedule()) schedule = parse_dense_schedule(*values);
    if (schedule && !has_tile(machine.target, dtype_of(d), schedule->mr, schedule->nr)) schedule.reset();
    if (!schedule && machine.target.isa != Isa::kReference)
      schedule = is_first ? default_dense_schedule(machine.target, dtype_of(d), m, n, k, machine.threads, fast)
                          : shared->weights.schedule(m, machine.threads, fast);
    Dense op(shared->weights, machine.threads, schedule);
    return std::unique_ptr<const Layer>(new DenseLayer(with_residual({m, k}, residual, {m, n}),
                                                       TensorDtypes(d, n, residual), std::move(shared), std::move(op)));
  }

  void run(const DLTensor* const* tensors) const override {
    const int64_t m = shapes().front()[0];
    const bool residual = shapes().size() == 3;
    op_.run(matrix(tensors[0], op_.k(), dtypes_.x()), m, matrix(tensors[residual ? 2 : 1], op_.n(), dtypes_.out()),
            residual ? matrix(tensors[1], op_.n(), dtypes_.residual()) : Matrix{nullptr, 0});
  }
  DLDataType dtype(size_t tensor) const override { return dtypes_.of(tensor); }
  ScheduleValues schedule() const override { return to_values(op_.schedule(shapes().front()[0])); }
  std::unique_ptr<const Layer> resized(const Description& d, const Machine& machine) const override {
    return make(d, machine, shared_);
  }

 private:
  DenseLayer(std::vector<Shape> shapes, const TensorDtypes& dtypes, std::shared_ptr<Shared> shared, Dense op)
      : Layer(std::move(shapes)), dtypes_(dtypes), shared_(std::move(shared)), op_(std::move(op)) {}
  static Matrix matrix(const DLTensor* tensor, int64_t columns, Dtype dtype) {
    return {written(tensor), columns, dtype};
  }

  TensorDtypes dtypes_;
  std::shared_ptr<Shared> shared_;
  Dense op_;
};

}  // namespace

std::unique_ptr<const Layer> make_dense(const Description& description, const Machine& machine) {
  return DenseLayer::make(description, machine);
}

}  // namespace loopwright
