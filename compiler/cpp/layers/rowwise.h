// Row-wise operators: attributes sizes (rows, columns) and epsilon if the operator has one; weights gamma and beta if it
// has them.
#pragma once

#include "loopwright/rowwise.h"
#include "make.h"

namespace loopwright {

class RowLayer final : public Layer {
 public:
  static std::unique_ptr<const Layer> make(const char* name, const Description& d, const Machine& machine) {
    const RowOperatorDef& def = find_row_operator(name);
    const auto [rows, n] = d.sizes<2>("sizes");
    const Shape shape = positive("sizes", {rows, n});
    const auto weight = [&, columns = n](bool used, const char* key) {
      if (!used) return std::vector<float>();
      const float* data = d.weight(key, {columns});
      return std::vector<float>(data, data + columns);
    };
    return std::unique_ptr<const Layer>(
        new RowLayer(shape, def.op, weight(def.gamma, "gamma"), weight(def.beta, "beta"),
                     def.epsilon ? static_cast<float>(d.number("epsilon")) : 0.0f, machine));
  }

  void run(const DLTensor* const* tensors) const override {
    const Shape& x = shapes().front();
    run_rows(op_, {read(tensors[0]), nullptr, gamma_.data(), beta_.data(), written(tensors[1]), x[0], x[1], epsilon_},
             machine_.target, machine_.threads);
  }

 private:
  RowLayer(const Shape& shape, RowOperator op, std::vector<float> gamma, std::vector<float> beta, float epsilon,
           const Machine& machine)
      : Layer({shape, shape}),
        op_(op),
        gamma_(std::move(gamma)),
        beta_(std::move(beta)),
        epsilon_(epsilon),
        machine_(machine) {}

  RowOperator op_;
  std::vector<float> gamma_, beta_;
  float epsilon_;
  Machine machine_;
};

}  // namespace loopwright
