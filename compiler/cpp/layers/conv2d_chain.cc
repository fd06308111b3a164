// conv2d_chain: attribute stages, each a convolution with its dtypes as in make.h; weights weight0, bias0 and slopes0 (optional), weight1, ...
#include "loopwright/conv2d_chain.h"
#include "convolution.h"
#include "make.h"

namespace loopwright {
namespace {

using SharedWeights = std::vector<std::shared_ptr<SharedConv2dWeights>>;  // of each stage

class Conv2dChainLayer final : public Layer {
 public:
  // `shared` is empty for the first layer.
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine, SharedWeights shared = {}) {
    if (dtype_of(d) != Dtype::kFloat32) throw std::invalid_argument("dtype must be float32; stages have their own");
    const std::vector<Description> described = d.objects("stages");
    std::vector<Convolved> convolved;
    std::vector<TensorDtypes> dtypes;
    for (const Description& stage : described) {
      if (dtype_of(stage) == Dtype::kInt8) throw std::invalid_argument("dtype of stages must be float32 or bfloat16");
      convolved.emplace_back(stage);
      dtypes.push_back(convolved.back().dtypes(stage, machine.target.isa));
    }
    if (convolved.empty()) throw std::invalid_argument("there must be at least one stage");
    if (shared.empty())
      for (const Convolved& c : convolved)
        shared.push_back(std::make_shared<SharedConv2dWeights>(d, c, c, std::to_string(shared.size()), machine.target,
                                                               dtype_of(described[shared.size()])));
    if (shared.size() != convolved.size())
      throw std::invalid_argument("there must be " + std::to_string(shared.size()) + " stages for all sizes");
    std::vector<Conv2dChain::Stage> stages;
    for (size_t i = 0; i < convolved.size(); ++i) {
      shared[i]->check(convolved[i]);
      stages.push_back({convolved[i].geometry, shared[i]->weights, dtypes[i].out()});
    }
    for (size_t i = 0; i + 1 < convolved.size(); ++i)
      if (convolved[i].out() != convolved[i + 1].x() || convolved[i].residual || dtypes[i].out() != dtypes[i + 1].x())
        throw std::invalid_argument(
            "the input of each stage must be the output of the stage before it, and only the last may have a residual");
    std::optional<int64_t> rows;
    if (const auto values = d.schedule()) rows = parse_chain_rows(*values);
    auto op = std::make_unique<Conv2dChain>(stages, convolved.front().images, machine.target, machine.threads, rows);
    const Convolved& last = convolved.back();
    return std::unique_ptr<const Layer>(
        new Conv2dChainLayer(with_residual(convolved.front().x(), last.residual, last.out()),
                             TensorDtypes(dtypes.front(), dtypes.back()), std::move(shared), std::move(op)));
  }

  void run(const DLTensor* const* tensors) const override {
    const bool residual = shapes().size() == 3;
    op_->run(read(tensors[0]), dtypes_.x(), written(tensors[residual ? 2 : 1]), residual ? read(tensors[1]) : nullptr,
             dtypes_.residual());
  }
  DLDataType dtype(size_t tensor) const override { return dtypes_.of(tensor); }
  ScheduleValues schedule() const override { return chain_values(op_->rows()); }
  std::unique_ptr<const Layer> resized(const Description& d, const Machine& machine) const override {
    return make(d, machine, shared_);
  }

 private:
  Conv2dChainLayer(std::vector<Shape> shapes, const TensorDtypes& dtypes, SharedWeights shared,
                   std::unique_ptr<const Conv2dChain> op)
      : Layer(std::move(shapes)), dtypes_(dtypes), shared_(std::move(shared)), op_(std::move(op)) {}

  TensorDtypes dtypes_;
  SharedWeights shared_;
  std::unique_ptr<const Conv2dChain> op_;
};

}  // namespace

std::unique_ptr<const Layer> make_conv2d_chain(const Description& description, const Machine& machine) {
  return Conv2dChainLayer::make(description, machine);
}

}  // namespace loopwright
