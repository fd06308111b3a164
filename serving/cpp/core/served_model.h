// One model of the repository: its versions, which its own thread loads and unloads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/config.h"
#include "core/servable.h"
#include "core/version_loader.h"
#include "loopwright/serving/engine.h"

namespace loopwright::serving {

// A broken model holds up no other, because each has its own thread. Thread-safe.
class ServedModel {
 public:
  // The options, cores, metrics and models outlive the model.
  ServedModel(std::string name, std::string folder, const EngineOptions& options, Cores& cores, Metrics& metrics,
              const StepModels& models);
  ~ServedModel();

  const std::string& name() const { return name_; }
  // Whether its configuration has steps now. Throws Error if it cannot be read.
  bool is_pipeline() const;

  // Begins to end: no more loads. The destructor waits.
  void end();
  // Waits until nothing is being loaded, after end().
  void join();

  // Looks at the folder again, on the model's thread.
  void look();
  // Waits until the folder has been looked at once since the call, and what was found is loaded or has failed.
  // `limit`: returns after it in any case.
  void look_and_wait(std::optional<std::chrono::seconds> limit = std::nullopt);
  // Serves the versions that the configuration selects, and waits for them. A version that was loaded with another configuration
  // is loaded with the present one, and replaced. Throws Error with the reason if one cannot be served so.
  void load();
  // Serves no version, and waits until all are gone.
  void unload();
  // Makes `label` select a version, which must be ready. Kept in labels.toml.
  void promote(const std::string& label, int64_t version, double percent);
  // Makes `label` select the version before. Throws Error (kFailedPrecondition) without one.
  void roll_back(const std::string& label);
  void remove_label(const std::string& label);
  std::vector<LabelEntry> labels() const;

  // Returns the ready version that `wanted` selects: a number, a label, or empty. Throws Error.
  std::shared_ptr<Servable> select(const std::string& wanted) const;
  std::vector<std::shared_ptr<Servable>> ready() const;
  bool serves_pipeline() const;
  std::vector<IndexEntry> index() const;

 private:
  // What happened to a version of the folder.
  struct State {
    VersionState state = VersionState::kUnavailable;
    std::string reason;
    std::string fingerprint;  // of the files that were loaded or failed
    std::string settings;     // with which it was loaded
    int failures = 0;
    Clock::time_point retry;  // after a failure
    bool is_missing = false;  // the configuration or a label selects it, and it has no folder

    bool is_first_load() const { return state == VersionState::kLoading && failures == 0; }
  };

  void control();
  std::string fingerprint_of(int64_t number, const ModelConfig& config) const;
  // Reads the configuration, the labels and the versions of the folder. An error is kept for the index.
  void read_files(ModelConfig& config, std::vector<int64_t>& present);
  // Loads and unloads versions as the folder demands. Returns when it must look again.
  Clock::time_point step();
  // If nothing is ready, loads the newest version that can be loaded.
  void load_older(const ModelConfig& config, const std::vector<int64_t>& present);
  bool load_version(int64_t number, const ModelConfig& config);
  std::unique_ptr<Servable> open_pipeline(const ModelConfig& config);
  void retire(int64_t number);
  std::set<int64_t> wanted_versions(const ModelConfig& config, const std::vector<int64_t>& present) const;
  void log(const std::string& event, int64_t number, const std::string& reason = "") const;
  // Why there is no version in the folder.
  std::string no_version() const;
  // With the mutex held: whether the configuration or a label names the version.
  bool selects(const ModelConfig& config, int64_t number) const;
  // With the mutex held: throws Error with the reason if a label cannot select the version.
  void check_promotable(int64_t version) const;
  void store_labels(std::map<std::string, Label> labels);

  const std::string name_, folder_;
  const EngineOptions& options_;
  Metrics& metrics_;
  const StepModels& models_;

  std::atomic<bool> stop_compiler_{false};
  const VersionLoader loader_;
  std::mutex labels_mutex_;  // held while labels change, in the file and here; locked before the other
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<int64_t, std::shared_ptr<Servable>> ready_;  // of lend()
  std::map<int64_t, State> states_;
  std::map<std::string, Label> labels_;
  std::string config_error_;
  bool enabled_ = true, stopping_ = false;
  bool complete_ = false;           // load() was called, so the files are complete, however new they are
  bool is_complete_ = false;        // the same for the step that is going on; of the model's thread
  bool requested_ = false;          // load() was called, so changed settings are loaded
  bool is_requested_ = false;       // the same for the step that is going on; of the model's thread
  std::string settings_;            // what identifies config.toml and labels.txt; of the model's thread
  uint64_t wanted_ = 1, done_ = 0;  // looks at the folder
  bool is_empty_ = false;           // the folder has no version; of the model's thread
  std::set<std::string> ignored_;   // why folders are, which the log has; of the model's thread
  std::thread thread_;
};

}  // namespace loopwright::serving
