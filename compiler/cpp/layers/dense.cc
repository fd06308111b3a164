// dense: attributes sizes (m, n, k), residual, activation, fast_algorithms; weights weight, bias (optional).
#include "loopwright/dense.h"
#include "loopwright/activation.h"
#include "make.h"

namespace loopwright {
namespace {

class DenseLayer final : public Layer {
 public:
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine) {
    const auto [m, n, k] = d.sizes<3>("sizes");
    positive("sizes", {m, n, k});
    const bool residual = d.flag("residual");
    std::optional<DenseSchedule> schedule;
    if (const auto values = d.schedule()) {
      schedule = parse_dense_schedule(*values);
    } else if (machine.isa != Isa::kReference) {
      schedule =
          default_dense_schedule(machine.isa, Dtype::kFloat32, m, n, k, machine.threads, d.flag("fast_algorithms"));
    }
    const Matrix weight{const_cast<float*>(d.weight("weight", {n, k})), k, Dtype::kFloat32};
    auto op = std::make_unique<Dense>(weight, n, k, d.optional_weight("bias", {n}),
                                      parse_activation(d.optional_text("activation")), machine.isa, machine.threads,
                                      schedule);
    return std::unique_ptr<const Layer>(new DenseLayer(with_residual({m, k}, residual, {m, n}), std::move(op)));
  }

  void run(const DLTensor* const* tensors) const override {
    const int64_t m = shapes().front()[0];
    const bool residual = shapes().size() == 3;
    op_->run(matrix(tensors[0], op_->k()), m, matrix(tensors[residual ? 2 : 1], op_->n()),
             residual ? matrix(tensors[1], op_->n()) : Matrix{nullptr, 0});
  }
  ScheduleValues schedule() const override { return to_values(op_->schedule(shapes().front()[0])); }

 private:
  DenseLayer(std::vector<Shape> shapes, std::unique_ptr<const Dense> op)
      : Layer(std::move(shapes)), op_(std::move(op)) {}
  static Matrix matrix(const DLTensor* tensor, int64_t columns) { return {written(tensor), columns, Dtype::kFloat32}; }

  std::unique_ptr<const Dense> op_;
};

}  // namespace

std::unique_ptr<const Layer> make_dense(const Description& description, const Machine& machine) {
  return DenseLayer::make(description, machine);
}

}  // namespace loopwright
