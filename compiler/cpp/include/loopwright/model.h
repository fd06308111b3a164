// Compiled models: load one and run it.
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

// Seconds of one call of a model's program, in each of several runs.
struct CallTimes {
  std::string function;
  int64_t layer;  // among the manifest's "layers"; -1 where the function is no kernel of ours
  std::vector<double> secs;
};

// A model ready to run on this CPU. Copies share one model.
class Model {
 public:
  // Reads the folder that CompiledModel.save() wrote. libtvm_runtime must be linked or loaded. Throws
  // std::runtime_error where a file is missing or broken, or this CPU lacks the ISA that the model was compiled for.
  // The files are taken as they are: it is Python's load() that compares their digests.
  static Model load(const std::string& folder);

  // In the order in which run() takes and returns them.
  const std::vector<TensorSpec>& inputs() const;
  const std::vector<TensorSpec>& outputs() const;

  // A new tensor for an input, zeros at first.
  static tvm::ffi::Tensor tensor(const TensorSpec& spec);

  // Safe to call from several threads at once. Throws std::exception where an input is not as inputs() says.
  std::vector<tvm::ffi::Tensor> run(const std::vector<tvm::ffi::Tensor>& inputs) const;

 private:
  struct State;
  explicit Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}

  std::shared_ptr<const State> state_;
};

}  // namespace loopwright
