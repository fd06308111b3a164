#include "core/served_model.h"

#include <pthread.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <utility>

#include "core/classification.h"
#include "core/lend.h"
#include "core/names.h"
#include "core/pipeline.h"
#include "core/version_files.h"

namespace loopwright::serving {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStable = "stable";
constexpr const char* kReasons = "GET /v2/repository/index has the reasons";
constexpr const char* kNotSelected =
    "neither \"versions\" of config.toml nor a label selects it; select it with \"versions\" to serve or promote it";
// A version that failed is tried again after 1 s, then 2, 4 ... seconds.
constexpr std::chrono::seconds kFirstRetry{1}, kLongestRetry{60};

Clock::duration retry_after(int failures) {
  return std::min<Clock::duration>(kFirstRetry * (int64_t{1} << std::min(failures - 1, 16)), kLongestRetry);
}

// Returns a text that changes if the files that count when a version is loaded change.
std::string settings_in(const std::string& folder) {
  return fingerprint_of_file(folder + "/config.toml") + fingerprint_of_file(folder + "/labels.txt");
}

double random_percent() {
  thread_local std::minstd_rand source{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 100)(source);
}

}  // namespace

ServedModel::ServedModel(std::string name, std::string folder, const EngineOptions& options, Cores& cores,
                         Metrics& metrics, const StepModels& models)
    : name_(std::move(name)),
      folder_(std::move(folder)),
      options_(options),
      metrics_(metrics),
      models_(models),
      loader_(name_, options, cores, metrics, stop_compiler_,
              [this](int64_t number, const std::string& event) { log(event, number); }) {
  thread_ = std::thread([this] { control(); });
}

void ServedModel::end() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_compiler_ = true;
  changed_.notify_all();
}

ServedModel::~ServedModel() {
  end();
  join();
  while (!ready_.empty()) retire(ready_.begin()->first);
}

void ServedModel::join() {
  if (thread_.joinable()) thread_.join();
}

void ServedModel::look() {
  {
    const std::lock_guard lock(mutex_);
    ++wanted_;
  }
  changed_.notify_all();
}

void ServedModel::look_and_wait(std::optional<std::chrono::seconds> limit) {
  std::unique_lock lock(mutex_);
  // A look that is going on may have passed what changed, so it does not count.
  const uint64_t serial = ++wanted_;
  changed_.notify_all();
  const auto is_done = [&] { return done_ >= serial || stopping_; };
  if (limit) {
    changed_.wait_for(lock, *limit, is_done);
  } else {
    changed_.wait(lock, is_done);
  }
}

void ServedModel::load() {
  {
    const std::lock_guard lock(mutex_);
    enabled_ = complete_ = requested_ = true;
    for (auto& [number, state] : states_) state.retry = Clock::time_point();
  }
  look_and_wait();
  const std::lock_guard lock(mutex_);
  std::string reasons = config_error_;
  for (const auto& [number, state] : states_)
    if (state.failures > 0)
      reasons += (reasons.empty() ? "version " : "; version ") + std::to_string(number) + ": " + state.reason;
  if (ready_.empty() || !reasons.empty())
    throw Error(ErrorKind::kFailedPrecondition,
                "failed to load '" + name_ + "': " + (reasons.empty() ? no_version() : reasons));
}

void ServedModel::unload() {
  {
    const std::lock_guard lock(mutex_);
    enabled_ = false;
  }
  look_and_wait();
}

void ServedModel::store_labels(std::map<std::string, Label> labels) {
  write_labels(folder_ + "/labels.toml", labels);
  const std::lock_guard lock(mutex_);
  labels_ = std::move(labels);
}

void ServedModel::check_promotable(int64_t version) const {
  const std::string which = "version " + std::to_string(version) + " of '" + name_ + "'";
  if (const auto found = ready_.find(version); found != ready_.end()) {
    if (!found->second->is_pipeline()) return;
    throw Error(ErrorKind::kFailedPrecondition, "'" + name_ + "' is a pipeline, which has no versions to promote");
  }
  const auto found = states_.find(version);
  if (found == states_.end()) throw Error(ErrorKind::kFailedPrecondition, which + " does not exist");
  const State& state = found->second;
  std::string reason = state.reason;
  if (state.failures > 0) reason = "its load failed: " + reason;
  if (reason.empty()) reason = "it is being loaded; try later";
  throw Error(ErrorKind::kFailedPrecondition, which + " is not ready, so it cannot be promoted: " + reason);
}

void ServedModel::promote(const std::string& label, int64_t version, double percent) {
  const std::lock_guard changing(labels_mutex_);
  check_name(label, "label");
  if (label == kStable && percent != 0)
    throw invalid("the label stable has no percent: it gets what other labels leave");
  if (is_number(label)) throw Error(ErrorKind::kInvalidArgument, "a label must not be a number: '" + label + "'");
  std::map<std::string, Label> labels;
  {
    const std::lock_guard lock(mutex_);
    check_promotable(version);
    labels = labels_;
    const auto before = labels.find(label);
    int64_t previous = 0;
    if (before != labels.end()) {
      previous = before->second.version == version ? before->second.previous : before->second.version;
    } else if (label == kStable) {
      previous = ready_.rbegin()->first == version ? 0 : ready_.rbegin()->first;
    }
    const double previous_percent = before == labels.end() ? 0 : before->second.percent;
    labels[label] = {version, percent, previous, previous_percent};
    double sum = 0;
    for (const auto& [key, entry] : labels) sum += entry.percent;
    if (!(percent >= 0 && sum <= 100))
      throw Error(ErrorKind::kInvalidArgument, "the percent of all labels must be between 0 and 100");
  }
  store_labels(std::move(labels));
  log("promoted to label " + label, version);
  look();
}

void ServedModel::roll_back(const std::string& label) {
  const std::lock_guard changing(labels_mutex_);
  std::map<std::string, Label> labels;
  int64_t version;
  {
    const std::lock_guard lock(mutex_);
    labels = labels_;
    const auto found = labels.find(label);
    if (found == labels.end() || found->second.previous == 0)
      throw Error(ErrorKind::kFailedPrecondition, "label '" + label + "' of '" + name_ + "' has no version before");
    if (!ready_.count(found->second.previous))
      throw Error(ErrorKind::kFailedPrecondition,
                  "version " + std::to_string(found->second.previous) + " of '" + name_ + "' is not ready any more");
    std::swap(found->second.version, found->second.previous);
    std::swap(found->second.percent, found->second.previous_percent);
    version = found->second.version;
  }
  store_labels(std::move(labels));
  log("rolled back label " + label, version);
  look();
}

void ServedModel::remove_label(const std::string& label) {
  const std::lock_guard changing(labels_mutex_);
  std::map<std::string, Label> labels;
  {
    const std::lock_guard lock(mutex_);
    labels = labels_;
  }
  if (!labels.erase(label)) throw Error(ErrorKind::kNotFound, "'" + name_ + "' has no label '" + label + "'");
  store_labels(std::move(labels));
  log("removed label " + label, 0);
  look();
}

std::vector<LabelEntry> ServedModel::labels() const {
  const std::lock_guard lock(mutex_);
  std::vector<LabelEntry> result;
  for (const auto& [label, entry] : labels_) result.push_back({label, entry.version, entry.percent, entry.previous});
  return result;
}

void ServedModel::log(const std::string& event, int64_t number, const std::string& reason) const {
  if (!options_.log) return;
  std::string line = "model=" + name_;
  if (number > 0) line += " version=" + std::to_string(number);
  line += " event=" + log_value(event);
  if (!reason.empty()) line += " reason=" + log_value(reason);
  options_.log(line);
}

std::shared_ptr<Servable> ServedModel::select(const std::string& wanted) const {
  const std::lock_guard lock(mutex_);
  const auto missing = [this](const std::string& what) {
    return Error(ErrorKind::kNotFound, "the model '" + name_ + "' has no " + what + " that is ready");
  };
  if (is_number(wanted)) {
    const auto found = ready_.find(parse_version(wanted));
    if (found != ready_.end()) return found->second;
    const auto state = states_.find(parse_version(wanted));
    if (state != states_.end() && state->second.is_first_load())
      throw Error(ErrorKind::kUnavailable, "version " + wanted + " of '" + name_ + "' is loading; try later",
                  Rejection::kNotReady);
    if (state != states_.end() && state->second.failures > 0)
      throw Error(ErrorKind::kNotFound, "the load of version " + wanted + " of '" + name_ + "' failed; " + kReasons);
    throw missing("version " + wanted);
  }
  const auto labelled = [this](const std::string& label) -> std::shared_ptr<Servable> {
    const auto entry = labels_.find(label);
    const auto found = entry == labels_.end() ? ready_.end() : ready_.find(entry->second.version);
    return found == ready_.end() ? nullptr : found->second;
  };
  if (!wanted.empty()) {
    check_name(wanted, "version or label");
    if (auto version = labelled(wanted)) return version;
    throw missing("label '" + wanted + "' of a version");
  }
  if (!labels_.empty()) {
    double left = random_percent();
    for (const auto& [label, entry] : labels_) {
      if (left < entry.percent) {
        if (auto version = labelled(label)) return version;
        break;  // its share must not move to another label
      }
      left -= entry.percent;
    }
    if (auto version = labelled(kStable)) return version;
  }
  if (!ready_.empty()) return ready_.rbegin()->second;
  const bool loading =
      std::any_of(states_.begin(), states_.end(), [](const auto& entry) { return entry.second.is_first_load(); });
  if (loading || done_ == 0)
    throw Error(ErrorKind::kUnavailable, "the model '" + name_ + "' is loading; try later", Rejection::kNotReady);
  throw Error(ErrorKind::kUnavailable, "the model '" + name_ + "' has no version that is ready; " + kReasons,
              Rejection::kNotReady);
}

std::vector<std::shared_ptr<Servable>> ServedModel::ready() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Servable>> result;
  for (const auto& [number, version] : ready_) result.push_back(version);
  return result;
}

std::vector<IndexEntry> ServedModel::index() const {
  const std::lock_guard lock(mutex_);
  std::vector<IndexEntry> result;
  if (states_.empty() && done_ > 0) {
    const std::string reason = config_error_.empty() ? no_version() : config_error_;
    result.push_back({name_, 0, VersionState::kUnavailable, reason, true});
  }
  for (const auto& [number, state] : states_)
    result.push_back({name_, number, state.state, config_error_.empty() ? state.reason : config_error_,
                      state.failures > 0 || state.is_missing || !config_error_.empty()});
  return result;
}

bool ServedModel::is_pipeline() const { return !read_config(folder_ + "/config.toml").steps.empty(); }

std::string ServedModel::fingerprint_of(int64_t number, const ModelConfig& config) const {
  // A pipeline is its configuration. A change of it is loaded, as steps have versions and a pipeline has not.
  return config.steps.empty() ? fingerprint(folder_ + "/" + std::to_string(number))
                              : sha256_of_file(folder_ + "/config.toml");
}

std::unique_ptr<Servable> ServedModel::open_pipeline(const ModelConfig& config) {
  return std::make_unique<Pipeline>(name_, config, models_, metrics_);
}

std::string ServedModel::no_version() const {
  std::string reason = "its folder has no version: a folder whose name is a number";
  if (is_number(name_))
    reason += "; " + options_.repository + " looks like the folder of one model; give the folder above it";
  return reason;
}

bool ServedModel::selects(const ModelConfig& config, int64_t number) const {
  const auto& listed = config.versions.specific;
  return std::find(listed.begin(), listed.end(), number) != listed.end() ||
         std::any_of(labels_.begin(), labels_.end(),
                     [number](const auto& entry) { return entry.second.version == number; });
}

void ServedModel::control() {
  pthread_setname_np(pthread_self(), "lw-control");
  std::unique_lock lock(mutex_);
  Clock::time_point next = Clock::time_point::max();
  for (;;) {
    const auto due = [this] { return stopping_ || wanted_ > done_; };
    if (next == Clock::time_point::max()) {
      changed_.wait(lock, due);
    } else {
      changed_.wait_until(lock, next, due);
    }
    if (stopping_) break;
    const uint64_t serial = wanted_;
    is_complete_ = std::exchange(complete_, false);
    is_requested_ = std::exchange(requested_, false);
    lock.unlock();
    try {
      next = step();
    } catch (const std::exception& error) {  // such as a file system that fails: what is ready stays
      const std::lock_guard locked(mutex_);
      config_error_ = printable(error.what());
      next = Clock::now() + kFirstRetry;
    }
    lock.lock();
    done_ = std::max(done_, serial);
    changed_.notify_all();
  }
}

std::set<int64_t> ServedModel::wanted_versions(const ModelConfig& config, const std::vector<int64_t>& present) const {
  std::set<int64_t> wanted;
  const VersionPolicy& policy = config.versions;
  switch (policy.kind) {
    case VersionPolicy::Kind::kAll: wanted.insert(present.begin(), present.end()); break;
    case VersionPolicy::Kind::kLatest:
      wanted.insert(present.end() - std::min<ptrdiff_t>(policy.latest, static_cast<ptrdiff_t>(present.size())),
                    present.end());
      break;
    case VersionPolicy::Kind::kSpecific: wanted.insert(policy.specific.begin(), policy.specific.end()); break;
  }
  const std::lock_guard lock(mutex_);
  for (const auto& [label, entry] : labels_)
    for (const int64_t version : {entry.version, entry.previous})
      if (version > 0) wanted.insert(version);
  return wanted;
}

void ServedModel::read_files(ModelConfig& config, std::vector<int64_t>& present) {
  std::string error;
  try {
    config = read_config(folder_ + "/config.toml");
    const std::lock_guard changing(labels_mutex_);
    const auto kept = read_labels(folder_ + "/labels.toml");
    VersionFolders folders = versions_in(folder_);
    present = std::move(folders.versions);
    for (const std::string& reason : folders.ignored)
      if (!ignored_.count(reason)) log("a folder is ignored", 0, reason);
    ignored_ = std::move(folders.ignored);
    if (!config.steps.empty()) {
      if (!present.empty()) throw invalid("config.toml: a pipeline has steps, and no folders of versions");
      present = {Pipeline::kNumber};
    }
    const bool was_empty = std::exchange(is_empty_, present.empty());
    if (is_empty_ && !was_empty) log("nothing is served", 0, no_version());
    const std::lock_guard lock(mutex_);
    labels_ = kept ? *kept : config.labels;
  } catch (const Error& raised) {
    error = printable(raised.what());
  }
  {
    const std::lock_guard lock(mutex_);
    if (config_error_ == error) return;
    config_error_ = error;
  }
  if (!error.empty()) log("the configuration is not valid", 0, error);
}

Clock::time_point ServedModel::step() {
  ModelConfig config;
  std::vector<int64_t> present;
  settings_ = settings_in(folder_);  // before they are read, so that a later change counts
  read_files(config, present);
  bool enabled;
  {
    const std::lock_guard lock(mutex_);
    enabled = enabled_;
    if (enabled && !config_error_.empty()) return Clock::now() + kFirstRetry;  // what is ready stays
  }
  const std::set<int64_t> wanted = enabled ? wanted_versions(config, present) : std::set<int64_t>();
  std::map<int64_t, std::string> fingerprints;
  for (const int64_t number : present) fingerprints[number] = fingerprint_of(number, config);

  Clock::time_point next = Clock::time_point::max();
  std::vector<int64_t> to_load;
  {
    const std::lock_guard lock(mutex_);
    for (const int64_t number : present) states_.try_emplace(number);
    for (auto place = states_.begin(); place != states_.end();) {
      const int64_t number = place->first;
      const bool keep = fingerprints.count(number) || ready_.count(number) || wanted.count(number);
      place = keep ? std::next(place) : states_.erase(place);
    }
    for (const int64_t number : wanted) {
      State& state = states_[number];
      state.is_missing = false;
      const auto now = fingerprints.find(number);
      const auto ready = ready_.find(number);
      const bool is_same = now != fingerprints.end() && now->second == state.fingerprint;
      // A pipeline that changed is loaded again, if that did not just fail. So is what becomes a pipeline or ceases to be one.
      const bool is_immutable = config.steps.empty() && ready != ready_.end() && !ready->second->is_pipeline();
      if (is_immutable && is_same && is_requested_ && state.settings != settings_) {
        to_load.push_back(number);
      } else if (ready != ready_.end() && (is_immutable || (is_same && state.failures == 0))) {
        if (is_requested_) state.failures = 0;  // the settings with which it was loaded are back
        if (state.failures > 0) continue;
        state.reason = is_same
                           ? printable(ready->second->note())
                           : "its files changed after they were loaded; a version is immutable, so the loaded one is "
                             "served: make a new version";
      } else if (now == fingerprints.end()) {
        state.reason = "there is no folder of this version";
        state.is_missing = selects(config, number);  // a label may have lost the version before
      } else if (state.failures > 0 && Clock::now() < state.retry && now->second == state.fingerprint) {
        next = std::min(next, state.retry);
      } else {
        to_load.push_back(number);
      }
    }
  }
  for (auto number = to_load.rbegin(); number != to_load.rend(); ++number) {  // the newest first
    if (load_version(*number, config)) continue;
    const std::lock_guard lock(mutex_);
    next = std::min(next, states_[*number].retry);
  }
  // After a restart there is no old version that is still served while the newest one fails.
  if (enabled && config.versions.kind == VersionPolicy::Kind::kLatest) load_older(config, present);
  // Old versions go when the wanted ones are ready. Labels may have changed during the loads.
  const std::set<int64_t> still_wanted = enabled ? wanted_versions(config, present) : std::set<int64_t>();
  std::vector<int64_t> to_retire;
  {
    const std::lock_guard lock(mutex_);
    const bool all_ready = std::all_of(still_wanted.begin(), still_wanted.end(), [&](int64_t number) {
      return ready_.count(number) || !fingerprints.count(number);
    });
    const bool one_ready =
        std::any_of(still_wanted.begin(), still_wanted.end(), [&](int64_t number) { return ready_.count(number); });
    for (const auto& [number, version] : ready_) {
      const bool is_gone = !fingerprints.count(number) && one_ready;
      if (!still_wanted.count(number) && (all_ready || is_gone)) to_retire.push_back(number);
    }
  }
  for (const int64_t number : to_retire) retire(number);
  const std::lock_guard lock(mutex_);
  for (auto& [number, state] : states_)
    if (!ready_.count(number) && !still_wanted.count(number) && (!enabled || state.failures == 0))
      state.reason = enabled ? kNotSelected : "the model was unloaded";
  return next;
}

void ServedModel::load_older(const ModelConfig& config, const std::vector<int64_t>& present) {
  for (auto number = present.rbegin(); number != present.rend(); ++number) {
    {
      const std::lock_guard lock(mutex_);
      if (!ready_.empty() || stopping_) break;
      if (states_[*number].failures > 0) continue;
    }
    load_version(*number, config);
  }
}

bool ServedModel::load_version(int64_t number, const ModelConfig& config) {
  const std::string folder = folder_ + "/" + std::to_string(number);
  {
    const std::lock_guard lock(mutex_);
    State& state = states_[number];
    state.state = VersionState::kLoading;
    if (state.failures == 0) state.reason.clear();  // that of the last failure stays
  }
  log("loading", number);
  const std::string before = fingerprint_of(number, config);
  try {
    if (config.steps.empty()) check_complete(folder, is_complete_);
    auto loaded = config.steps.empty() ? loader_.load(number, folder, config) : open_pipeline(config);
    loaded->set_class_labels(read_class_labels(folder_ + "/labels.txt"));
    const std::string note = printable(loaded->note());
    std::shared_ptr<Servable> version = lend(std::move(loaded));
    {
      const std::lock_guard lock(mutex_);
      std::swap(ready_[number], version);
      states_[number] = {VersionState::kReady, note, before, settings_, 0, {}, false};
      log("ready", number, note);
    }
    if (version) take_back(std::move(version));  // after it has computed its queue
    return true;
  } catch (const std::exception& error) {
    const std::lock_guard lock(mutex_);
    State& state = states_[number];
    const int failures = state.failures + 1;
    // A pipeline or a version whose changed configuration fails serves as before.
    const bool is_served = ready_.count(number) > 0;
    const std::string reason = (is_served ? "its configuration changed, and fails: " : "") + printable(error.what());
    state = {is_served ? VersionState::kReady : VersionState::kUnavailable,
             reason,
             before,
             state.settings,
             failures,
             Clock::now() + retry_after(failures),
             false};
    log("failed", number, state.reason);
    return false;
  }
}

bool ServedModel::serves_pipeline() const {
  const auto versions = ready();
  return std::any_of(versions.begin(), versions.end(), [](const auto& version) { return version->is_pipeline(); });
}

void ServedModel::retire(int64_t number) {
  std::shared_ptr<Servable> version;
  {
    const std::lock_guard lock(mutex_);
    const auto found = ready_.find(number);
    version = std::move(found->second);
    ready_.erase(found);
    states_[number].state = VersionState::kUnloading;
  }
  // Requests that selected it may still submit to it. It ends here, after it has computed its queue.
  take_back(std::move(version));
  log("unloaded", number);
  const std::lock_guard lock(mutex_);
  states_[number] = State();
}

}  // namespace loopwright::serving
