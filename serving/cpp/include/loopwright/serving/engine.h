// The inference engine: loads models from a repository, and runs requests on them. Needs no network.
//
// A repository is a folder with a folder for each model:
//   NAME/config.toml     optional, see docs/serving.md
//   NAME/<version>/      model.lw/ or model.onnx
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loopwright/serving/request.h"
#include "loopwright/serving/runtime.h"

namespace loopwright::serving {

struct EngineOptions {
  std::string repository;
  CoreSet cores;                         // empty: those that the process may use
  std::chrono::milliseconds poll{1000};  // between looks at the repository; 0: only when load() is called
  std::string python;                    // compiles ONNX models; empty: they are rejected
  std::string cache;                     // of compiled models; empty: .cache in the repository
  // Gets a line about each load, failure, unload and change of a label; empty: nobody does. Called by any thread.
  std::function<void(const std::string&)> log;
  // Gets each run whose request is traced, before the request's result; empty: nobody does. Called by any thread; must not block or
  // throw.
  std::function<void(const TracedRun&)> trace;
  std::string compiler_version;                  // another one does not use what was compiled by an earlier one
  std::map<std::string, std::string> libraries;  // of runtimes, by name; see LoadOptions
};

enum class VersionState { kUnavailable, kLoading, kReady, kUnloading };
// Returns the name in the protocol, such as READY.
const char* name(VersionState state);

struct IndexEntry {
  std::string model;
  int64_t version;  // 0: the model has none
  VersionState state;
  std::string reason;      // why it is not ready, or why a change is ignored
  bool is_failed = false;  // it is wanted, and cannot be served
};

struct LabelEntry {
  std::string label;
  int64_t version;
  double percent;    // of the requests that name no version
  int64_t previous;  // that a roll-back returns to; 0: none
};

struct ModelMetadata {
  std::string name;
  int64_t version;
  std::vector<int64_t> versions;  // that are ready
  std::string platform;
  std::vector<TensorSpec> inputs, outputs;
  int instances, threads, max_queue;
};

struct Totals {
  uint64_t count = 0, nanos = 0;
};

struct InstanceStatistics {
  CoreSet cores;
  double busy_secs;  // in which it used its cores
};

struct ModelStatistics {
  std::string name;
  int64_t version;
  Totals success, fail, queue, compute;
  uint64_t items = 0;  // of batches; requests of models without them
  uint64_t executions = 0;
  int64_t last_inference_millis = 0;               // since 1970; 0: none yet
  std::vector<InstanceStatistics> instances = {};  // a pipeline has none
};

// Thread-safe.
class Engine {
 public:
  // Throws Error if the repository is not a folder.
  explicit Engine(EngineOptions options);
  // Computes the requests that were accepted, then ends.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Begins to load the models of the repository, each on its own thread.
  void start();
  // Whether each model that was there at the start is loaded or has failed once.
  bool is_loaded() const;
  // Starts, if that was not done, and waits until is_loaded().
  void wait_until_loaded();

  // Calls `done` once with the result, on a thread of the engine, or before it returns.
  void infer(Request request, Done done);
  // Waits for the result. Throws Error.
  Response infer(Request request);

  // Whether the engine takes requests: it has loaded what it found at the start, and stop() was not called.
  bool is_ready() const;
  // Whether a request for this model and version would be taken.
  bool is_ready(const std::string& model, const std::string& version = "") const;
  // Begins no more loads, and stops compilers. Those who wait for a load get an error.
  void stop_loading();
  // Becomes not ready, but goes on taking requests, so that a load balancer has time to notice.
  void stop();

  // These throw Error if there is no such model or version, or with the reason why it cannot be served.
  ModelMetadata metadata(const std::string& model, const std::string& version = "") const;
  void load(const std::string& model);
  // Looks at the folder of a model now, and waits until what was found is loaded or has failed.
  void refresh(const std::string& model);
  void unload(const std::string& model);
  void promote(const std::string& model, const std::string& label, int64_t version, double percent = 0);
  void roll_back(const std::string& model, const std::string& label = "stable");
  void remove_label(const std::string& model, const std::string& label);
  std::vector<LabelEntry> labels(const std::string& model) const;

  std::vector<IndexEntry> index() const;
  // Of one model, or of all if `model` is empty.
  std::vector<ModelStatistics> statistics(const std::string& model = "", const std::string& version = "") const;
  // The text for Prometheus.
  std::string metrics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace loopwright::serving
