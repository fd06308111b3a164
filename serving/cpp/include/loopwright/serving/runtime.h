// What the engine needs of a runtime: models that run on sets of cores.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "loopwright/serving/tensor.h"

namespace loopwright::serving {

// Logical CPUs.
using CoreSet = std::vector<int>;

// The process that ran a model ended, which the request need not have caused: it can be run once more.
class InstanceLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class Health {
  kReady,
  kStarting,  // again, soon ready
  kFailed     // it does not start, or ends soon after; tried again later
};

// One set of cores that runs a model. One run at a time. The first run is on a thread that is kept on these cores; with more than
// one, all runs are.
class Instance {
 public:
  virtual ~Instance() = default;
  // Takes the inputs in the order of RuntimeModel::inputs() and returns the outputs in that of outputs(). Throws Error
  // (kInvalidArgument) for inputs that the model cannot take; any other exception is a failure of the runtime.
  virtual std::vector<Tensor> run(const std::vector<Tensor>& inputs) = 0;
  // Called by any thread. Only instances that throw InstanceLost are ever other than ready.
  virtual Health health() const { return Health::kReady; }
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
  // Whether runs are made by the thread that calls them, not by another process.
  virtual bool is_in_process() const { return true; }
  // Returns an instance with one thread for each of `cores`. Instances share the weights where the runtime can.
  virtual std::unique_ptr<Instance> instance(const CoreSet& cores) = 0;
};

struct LoadOptions {
  int threads = 1;               // of each instance
  std::vector<int64_t> batches;  // sizes that are wanted, ascending and beginning with 1; empty: no batches
  std::map<std::string, std::string> parameters;  // of the model's configuration, for this runtime
  std::map<std::string, std::string>
      libraries;                            // the shared library of a runtime, by its name; else the linker finds it
  std::string python;                       // the interpreter of workers; empty: none
  const std::atomic<bool>* stop = nullptr;  // ends a load that takes long; null: none does
  std::function<void(const std::string&)> log;  // of events, such as a worker that ended; called by any thread
  std::string label;                            // "model=NAME version=2", of a worker's lines in the log
  // The files of libraries with operators of users: of the interface loopwright/operator.h for our runtime, and custom operators
  // of ONNX Runtime for that one.
  std::vector<std::string> operators;
};

// Loads a model's file or folder, on a thread that has the cores of the first instance; for our runtime with batches, one of each size. Throws std::exception with the reason.
using LoadModel = std::unique_ptr<RuntimeModel> (*)(const std::vector<std::string>& paths, const LoadOptions& options);

struct Runtime {
  const char* name;
  const char* platform;            // in the model's metadata, as in the protocol
  std::vector<const char*> files;  // what a version's folder has for it, such as model.onnx: the first that is there
  LoadModel load;
  bool is_code = false;          // the files are code: only a configuration that names the runtime runs it
  bool takes_operators = false;  // LoadOptions::operators
};

// All runtimes of this build.
const std::vector<Runtime>& runtimes();
// Throws Error (kInvalidArgument) with the possible names if there is no such runtime.
const Runtime& find_runtime(const std::string& name);

}  // namespace loopwright::serving
