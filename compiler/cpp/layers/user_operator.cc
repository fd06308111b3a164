// user_operator: a node of a domain that a user's library implements. Attributes domain, operator, attributes ([name, kind, value],
// see loopwright/operator.h), inputs ({dtype, shape}, or null for an omitted one) and outputs. The tensors are the inputs that are
// not omitted and then the outputs.
#include <array>
#include <cstring>

#include "../user_operators.h"
#include "loopwright/thread_pool.h"
#include "make.h"

namespace loopwright {
namespace {

// LoopwrightRun::parallel: on the pool of the calling thread.
void run_parallel(const LoopwrightRun* run, int64_t count, void (*task)(void*, int64_t), void* state) {
  parallel_chunks(run->threads, count, [&](int, int64_t index) { task(state, index); });
}

class UserOperatorLayer final : public Layer {
 public:
  UserOperatorLayer(std::unique_ptr<const UserNode> node, std::vector<LoopwrightTensorType> outputs,
                    std::shared_ptr<const UserOperators> operators, int threads, std::string name)
      : Layer(shapes_of(*node, outputs)),
        operators_(std::move(operators)),
        node_(std::move(node)),
        outputs_(std::move(outputs)),
        threads_(threads),
        name_(std::move(name)) {
    for (const LoopwrightTensorType& type : node_->inputs())
      if (type.element != LOOPWRIGHT_NONE) dtypes_.push_back(dtype_of(type));
    for (const LoopwrightTensorType& type : outputs_) dtypes_.push_back(dtype_of(type));
  }

  DLDataType dtype(size_t tensor) const override { return dtypes_[tensor]; }

  void run(const DLTensor* const* tensors) const override {
    std::array<const void*, LOOPWRIGHT_MOST_TENSORS> inputs{};
    std::array<void*, LOOPWRIGHT_MOST_TENSORS> outputs{};
    for (size_t i = 0; i < node_->inputs().size(); ++i)
      if (node_->inputs()[i].element != LOOPWRIGHT_NONE) inputs[i] = read(*tensors++);
    for (size_t i = 0; i < outputs_.size(); ++i) outputs[i] = written(*tensors++);
    try {
      node_->run({inputs.data(), outputs.data(), outputs_.data(), threads_, &run_parallel});
    } catch (const std::invalid_argument& error) {
      TVM_FFI_THROW(ValueError) << "node '" << name_ << "': " << error.what();
    }
  }

 private:
  static std::vector<Shape> shapes_of(const UserNode& node, const std::vector<LoopwrightTensorType>& outputs) {
    std::vector<Shape> shapes;
    for (const auto* types : {&node.inputs(), &outputs})
      for (const LoopwrightTensorType& type : *types)
        if (type.element != LOOPWRIGHT_NONE) shapes.emplace_back(type.sizes, type.sizes + type.axes);
    return shapes;
  }

  std::shared_ptr<const UserOperators> operators_;
  std::unique_ptr<const UserNode> node_;
  std::vector<LoopwrightTensorType> outputs_;
  std::vector<DLDataType> dtypes_;
  int threads_;
  std::string name_;
};

}  // namespace

std::unique_ptr<const Layer> make_user_operator(const Description& d, const Machine& machine) {
  std::vector<LoopwrightTensorType> outputs;
  for (const tvm::ffi::json::Object& output : d.entries("outputs")) outputs.push_back(tensor_type(output));
  auto node = std::make_unique<const UserNode>(d.all(), outputs.size(), machine.operators.get());
  // A saved model may be changed, or the library may be another one than that with which it was built.
  const std::vector<LoopwrightTensorType> inferred = node->infer();
  if (!std::equal(inferred.begin(), inferred.end(), outputs.begin(), outputs.end(), is_same))
    throw std::invalid_argument("the library of " + d.text("domain") + "::" + d.text("operator") +
                                " infers other outputs than when the model was built");
  return std::make_unique<UserOperatorLayer>(std::move(node), std::move(outputs), machine.operators, machine.threads,
                                             d.text("name"));
}

}  // namespace loopwright
