// Models that this project compiled. No Python runs in the process.
#include <loopwright/model.h>
#include <loopwright/thread_pool.h>
#include <loopwright/topology.h>

#include <algorithm>

#include "loopwright/serving/error.h"
#include "runtimes/runtimes.h"

namespace loopwright::serving {
namespace {

struct TypeRow {
  uint8_t code, bits;
  DataType type;
};
constexpr TypeRow kTypes[] = {
    {kDLBool, 8, DataType::kBool},    {kDLUInt, 8, DataType::kUint8},   {kDLUInt, 16, DataType::kUint16},
    {kDLUInt, 32, DataType::kUint32}, {kDLUInt, 64, DataType::kUint64}, {kDLInt, 8, DataType::kInt8},
    {kDLInt, 16, DataType::kInt16},   {kDLInt, 32, DataType::kInt32},   {kDLInt, 64, DataType::kInt64},
    {kDLFloat, 16, DataType::kFp16},  {kDLBfloat, 16, DataType::kBf16}, {kDLFloat, 32, DataType::kFp32},
    {kDLFloat, 64, DataType::kFp64}};

DataType of(DLDataType dtype) {
  for (const TypeRow& row : kTypes)
    if (row.code == dtype.code && row.bits == dtype.bits && dtype.lanes == 1) return row.type;
  throw Error(ErrorKind::kUnimplemented, "a tensor of the model has a data type that the protocol does not have");
}

std::vector<TensorSpec> specs(const std::vector<loopwright::TensorSpec>& from) {
  std::vector<TensorSpec> result;
  for (const auto& spec : from) result.push_back({spec.name, of(spec.dtype), spec.shape});
  return result;
}

// A tensor of tvm_ffi that views ours and keeps it alive.
struct ViewAllocator {
  Tensor tensor;
  void AllocData(DLTensor* made) { made->data = const_cast<void*>(tensor.data()); }  // inputs are not written
  void FreeData(DLTensor*) {}
};

// A program for each size of the batch; without batches, one.
struct Programs {
  std::vector<Model> models;
  std::vector<int64_t> sizes;

  const Model& of(const std::vector<Tensor>& inputs) const {
    if (sizes.empty() || inputs.empty()) return models.front();
    const auto found = std::find(sizes.begin(), sizes.end(), inputs.front().shape().at(0));
    if (found == sizes.end())
      throw Error(ErrorKind::kInternal, "the model was not compiled for this size of the batch");
    return models[static_cast<size_t>(found - sizes.begin())];
  }
};

class OurInstance : public Instance {
 public:
  OurInstance(const Programs& programs, const std::vector<TensorSpec>& outputs)
      : programs_(programs), outputs_(outputs) {}

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) override {
    const Model& model = programs_.of(inputs);
    std::vector<tvm::ffi::Tensor> arguments;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto& shape = inputs[i].shape();
      const loopwright::TensorSpec& spec = model.inputs()[i];
      if (shape != spec.shape)
        throw Error(ErrorKind::kInvalidArgument,
                    "input " + spec.name + " must have the shape " + text(spec.shape) + ", got " + text(shape));
      arguments.push_back(tvm::ffi::Tensor::FromNDAlloc(
          ViewAllocator{inputs[i]}, tvm::ffi::ShapeView(shape.data(), shape.size()), spec.dtype, DLDevice{kDLCPU, 0}));
    }
    const PoolScope scope(&pool_);
    std::vector<Tensor> outputs;
    for (const tvm::ffi::Tensor& output : model.run(arguments)) {
      const DataType type = outputs_[outputs.size()].type;
      const auto shape = output.shape();
      std::vector<int64_t> sizes(shape.begin(), shape.end());
      const auto* data = static_cast<const char*>(output.data_ptr()) + output.byte_offset();
      const auto bytes = static_cast<size_t>(element_count(sizes)) * element_bytes(type);
      outputs.emplace_back(type, std::move(sizes), std::make_shared<tvm::ffi::Tensor>(output), data, bytes);
    }
    return outputs;
  }

 private:
  const Programs& programs_;
  const std::vector<TensorSpec>& outputs_;
  ThreadPool pool_;  // on the CPUs of the thread that runs first
};

class OurModel : public RuntimeModel {
 public:
  explicit OurModel(Programs programs)
      : programs_(std::move(programs)),
        inputs_(specs(programs_.models.front().inputs())),
        outputs_(specs(programs_.models.front().outputs())) {
    if (programs_.sizes.empty()) return;
    for (auto* tensors : {&inputs_, &outputs_})
      for (TensorSpec& spec : *tensors) {
        if (spec.shape.empty() || spec.shape[0] != programs_.sizes.front())
          throw Error(ErrorKind::kFailedPrecondition,
                      "the model cannot have batches: the first dimension of '" + spec.name + "' is not their size");
        spec.shape[0] = -1;
      }
  }
  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  std::vector<int64_t> batches() const override { return programs_.sizes; }
  std::unique_ptr<Instance> instance(const CoreSet&) override {
    return std::make_unique<OurInstance>(programs_, outputs_);
  }

 private:
  const Programs programs_;  // instances share the weights of each
  std::vector<TensorSpec> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<RuntimeModel> load_loopwright(const std::vector<std::string>& paths, const LoadOptions& options) {
  if (!options.batches.empty() && paths.size() != options.batches.size())
    throw Error(ErrorKind::kFailedPrecondition,
                "a saved model is for one size of the batch; give the ONNX model for batches");
  check_parameters(options, "loopwright", nullptr);
  Programs programs;
  programs.sizes = options.batches;
  for (const std::string& path : paths)
    programs.models.push_back(Model::load(path, options.threads, options.operators));
  return std::make_unique<OurModel>(std::move(programs));
}

}  // namespace loopwright::serving
