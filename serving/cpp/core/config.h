// The configuration of a model: NAME/config.toml. Every entry has a default.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace loopwright::serving {

// Which versions of a folder are served.
struct VersionPolicy {
  enum class Kind { kLatest, kAll, kSpecific };
  Kind kind = Kind::kLatest;
  int latest = 1;                 // of kLatest
  std::vector<int64_t> specific;  // of kSpecific
};

// A label selects a version, for a share of the requests that name none. "stable" is the default of a model.
struct Label {
  int64_t version = 0;
  double percent = 0;    // of the requests without a version; the rest goes to "stable"
  int64_t previous = 0;  // the version before the last promotion, which stays loaded for a roll-back; 0: none
  double previous_percent = 0;
};

// A step of a pipeline.
struct StepConfig {
  std::string model;
  std::string version;  // a number, a label, or empty
  // By the names of the model: the names that its tensors have in the pipeline. An input that is not there has its own name. So have
  // all outputs if `outputs` is empty.
  std::map<std::string, std::string> inputs, outputs;
};

struct ModelConfig {
  std::vector<StepConfig> steps;     // of a pipeline, which has no entry below but a timeout; empty: a model
  std::vector<std::string> outputs;  // of a pipeline; empty: those that no step takes
  std::string runtime;               // empty: by the files of the version
  int instances = 1;
  bool is_auto = false;                              // runtime, instances and threads are chosen by measurement
  double slo_ms = 0;                                 // the objective for it: of 99 % of requests; 0: none
  int threads = 0;                                   // of an instance; 0: all cores divided by the instances
  int max_queue = 256;                               // requests that wait
  std::vector<int64_t> batches;                      // sizes, ascending and beginning with 1; empty: none
  std::optional<std::chrono::milliseconds> timeout;  // of requests without a deadline
  VersionPolicy versions;
  std::map<std::string, Label> labels;
  std::map<std::string, std::string> parameters;  // for the runtime
  std::vector<std::string> operators;             // paths of libraries of operators; see LoadOptions
};

// Reads a file; a missing one gives the defaults. Paths of libraries are relative to its folder. Throws Error (kInvalidArgument) that names the entry that is wrong.
ModelConfig read_config(const std::string& path);

// The labels that the server itself keeps, NAME/labels.toml; they replace those of config.toml.
std::optional<std::map<std::string, Label>> read_labels(const std::string& path);
// Replaces the file as a whole.
void write_labels(const std::string& path, const std::map<std::string, Label>& labels);

}  // namespace loopwright::serving
