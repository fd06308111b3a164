// Loads what the folder of a version has: which files, in which runtime, compiled or not, as one or several instances.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/compile.h"
#include "core/config.h"
#include "core/cores.h"
#include "core/servable.h"
#include "core/statistics.h"
#include "core/version_files.h"
#include "loopwright/serving/engine.h"

namespace loopwright::serving {

class VersionLoader {
 public:
  using Log = std::function<void(int64_t number, const std::string& event)>;

  // All but the name and the log outlive the loader and what it loads. `stop` ends compilers.
  VersionLoader(std::string model, const EngineOptions& options, Cores& cores, Metrics& metrics,
                const std::atomic<bool>& stop, Log log);

  // Throws std::exception with the reason. A model that cannot be compiled runs in ONNX Runtime, if the configuration names no
  // runtime; then, and if the runtime and the instances were chosen by measurement, the note of the result says so.
  std::unique_ptr<Servable> load(int64_t number, const std::string& folder, const ModelConfig& config) const;

 private:
  // A version that is being loaded.
  struct Load {
    int64_t number;
    const std::string& folder;
    const ModelConfig& config;
    Metrics& metrics;
    std::string note;
    const Source* source;  // of what is compiled; null: nothing is
  };

  std::unique_ptr<Servable> load(const Load& what) const;
  std::unique_ptr<Servable> load_compiled(const Load& what, const VersionFiles& files) const;
  std::unique_ptr<Servable> load_files(const Load& what, const VersionFiles& files,
                                       const std::vector<std::string>& paths) const;
  // Measures the candidates, unless that was done before, and loads the best one.
  std::unique_ptr<Servable> load_best(const Load& what) const;
  // The runtimes that may serve the files.
  std::vector<std::string> possible_runtimes(const Load& what) const;
  // The file of what was measured for the files of a version, on these cores.
  std::string record_of(const Load& what) const;

  const std::string model_;
  const EngineOptions& options_;
  Cores& cores_;
  Metrics& metrics_;
  const std::atomic<bool>& stop_;
  const Log log_;
};

}  // namespace loopwright::serving
