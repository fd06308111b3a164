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
  int64_t regions = 0;  // its parallel regions, if the calling thread simulates shares (loopwright/simulation.h)
};

// A model ready to run on this CPU. Copies share the model.
class Model {
 public:
  // Reads a folder that CompiledModel.save() wrote. libtvm_runtime must be linked or loaded. Throws std::exception if a
  // file is missing or broken, or if this CPU does not support the model's ISA. Does not compare the digests of the
  // files; Python's load() does.
  // `threads` run it. 0 means as many as it was built for, or the default number of this process (loopwright/topology.h) if
  // it may not use as many. On another number than it was built for, layers have default schedules. Throws
  // std::invalid_argument if the process may not use `threads` threads.
  // `operators`: the files of the libraries with operators of users that the model needs (loopwright/operator.h). Throws
  // std::invalid_argument if a library is not valid.
  static Model load(const std::string& folder, int threads = 0, const std::vector<std::string>& operators = {});

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
