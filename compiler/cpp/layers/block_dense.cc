// block_dense: attributes sizes (m, n, k), bits, block, residual, activation; weights numbers and scales, and zero_points, bias and
// slopes (optional). Layers of other numbers of rows share the packed weights.
#include "loopwright/block_dense.h"

#include "loopwright/activation.h"
#include "make.h"

namespace loopwright {
namespace {

class BlockDenseLayer final : public Layer {
 public:
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine,
                                           std::shared_ptr<const BlockDense> shared = nullptr) {
    const auto [m, n, k] = d.sizes<3>("sizes");
    const int64_t bits = d.integer("bits"), block = d.integer("block");
    positive("sizes", {m, n, k});
    check_blocks(k, bits, block);
    BlockWeight weight{n, k, static_cast<int>(bits), block, nullptr, nullptr, nullptr};
    const Shape of_blocks{n, weight.blocks()};
    weight.numbers = d.uint8_weight("numbers", {n, weight.row_bytes()});
    weight.scales = d.weight("scales", of_blocks);
    weight.zero_points = d.optional_uint8_weight("zero_points", of_blocks);
    const Activation activation = parse_activation(d.optional_text("activation"));
    if (!shared)
      shared =
          std::make_shared<const BlockDense>(weight, epilogue_of(d, activation, n), machine.target, machine.threads);
    if (shared->k() != k) throw std::invalid_argument("k and bits must be the same for all sizes");
    if (shared->activation() != activation) throw std::invalid_argument("activation must be the same for all sizes");
    return std::unique_ptr<const Layer>(
        new BlockDenseLayer(with_residual({m, k}, d.flag("residual"), {m, n}), std::move(shared)));
  }

  void run(const DLTensor* const* tensors) const override {
    const int64_t m = shapes().front()[0], n = op_->n();
    const bool residual = shapes().size() == 3;
    op_->run({written(tensors[0]), op_->k()}, m, {written(tensors[residual ? 2 : 1]), n},
             residual ? Matrix{written(tensors[1]), n} : Matrix{nullptr, 0});
  }
  std::unique_ptr<const Layer> resized(const Description& d, const Machine& machine) const override {
    return make(d, machine, op_);
  }

 private:
  BlockDenseLayer(std::vector<Shape> shapes, std::shared_ptr<const BlockDense> op)
      : Layer(std::move(shapes)), op_(std::move(op)) {}

  std::shared_ptr<const BlockDense> op_;
};

}  // namespace

std::unique_ptr<const Layer> make_block_dense(const Description& description, const Machine& machine) {
  return BlockDenseLayer::make(description, machine);
}

}  // namespace loopwright
