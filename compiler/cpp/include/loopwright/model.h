// Compiled models: loading and running.
#pragma once

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace loopwright {

struct TensorSpec {
  std::string name;
  DLDataType dtype;
  std::vector<int64_t> shape;
};

// The seconds of one call of a model's program in each of several runs.
struct CallTimes {
  std::string function;
  int64_t layer;  // index in the manifest's "layers"; -1 for generated code
  std::vector<double> secs;
};

// A model ready to run on this CPU. Copies share the model.
class Model {
 public:
  // Reads a folder that CompiledModel.save() wrote. libtvm_runtime must be linked or loaded. Throws std::exception if a
  // file is missing or broken, or if this CPU does not support the model's ISA. Does not compare the digests of the
  // files; Python's load() does.
  static Model load(const std::string& folder);

  // The tensors that run() takes and returns, in order.
  const std::vector<TensorSpec>& inputs() const;
  const std::vector<TensorSpec>& outputs() const;

  // Returns a new tensor of zeros for an input.
  static tvm::ffi::Tensor tensor(const TensorSpec& spec);

  // Thread-safe. Throws std::exception if an input does not have the type and shape in inputs().
  std::vector<tvm::ffi::Tensor> run(const std::vector<tvm::ffi::Tensor>& inputs) const;

 private:
  struct State;
  explicit Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}

  std::shared_ptr<const State> state_;
};

}  // namespace loopwright
