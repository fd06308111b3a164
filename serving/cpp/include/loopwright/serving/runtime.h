// What the engine needs of a runtime: models that run on sets of cores.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loopwright/serving/tensor.h"

namespace loopwright::serving {

// Logical CPUs.
using CoreSet = std::vector<int>;

// One set of cores that runs a model. One run at a time. The first run is on a thread that is kept on these cores; with more than
// one, all runs are.
class Instance {
 public:
  virtual ~Instance() = default;
  // Takes the inputs in the order of RuntimeModel::inputs() and returns the outputs in that of outputs(). Throws Error
  // (kInvalidArgument) for inputs that the model cannot take; any other exception is a failure of the runtime.
  virtual std::vector<Tensor> run(const std::vector<Tensor>& inputs) = 0;
};

// A loaded model. The destructor closes it; its instances are gone by then.
class RuntimeModel {
 public:
  virtual ~RuntimeModel() = default;
  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;
  // Returns the sizes of batches that it runs, ascending and beginning with 1: its tensors have a first dimension of -1, which is
  // one of these. Empty: it has no batches.
  virtual std::vector<int64_t> batches() const { return {}; }
  // Returns an instance with one thread for each of `cores`. Instances share the weights where the runtime can.
  virtual std::unique_ptr<Instance> instance(const CoreSet& cores) = 0;
};

struct LoadOptions {
  int threads = 1;               // of each instance
  std::vector<int64_t> batches;  // sizes that are wanted, ascending and beginning with 1; empty: no batches
  std::map<std::string, std::string> parameters;  // of the model's configuration, for this runtime
  std::map<std::string, std::string>
      libraries;  // the shared library of a runtime, by its name; else the linker finds it
};

// Loads a model's file or folder; for our runtime with batches, one of each size. Throws std::exception with the reason.
using LoadModel = std::unique_ptr<RuntimeModel> (*)(const std::vector<std::string>& paths, const LoadOptions& options);

struct Runtime {
  const char* name;
  const char* platform;            // in the model's metadata, as in the protocol
  std::vector<const char*> files;  // what a version's folder has for it, such as model.onnx: the first that is there
  LoadModel load;
};

// All runtimes of this build.
const std::vector<Runtime>& runtimes();
// Throws Error (kInvalidArgument) with the possible names if there is no such runtime.
const Runtime& find_runtime(const std::string& name);

}  // namespace loopwright::serving
