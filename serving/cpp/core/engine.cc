#include "loopwright/serving/engine.h"

#include <malloc.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/text_serializer.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <thread>
#include <utility>

#include "core/classification.h"
#include "core/cores.h"
#include "core/lend.h"
#include "core/names.h"
#include "core/served_model.h"
#include "core/statistics.h"

namespace loopwright::serving {
namespace {

namespace fs = std::filesystem;

// For the model of a step. Two models that change roles could wait for each other.
constexpr std::chrono::seconds kStepWait{60};

double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double cpu_secs() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto secs = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return secs(usage.ru_utime) + secs(usage.ru_stime);
}

}  // namespace

const char* name(VersionState state) {
  switch (state) {
    case VersionState::kUnavailable: return "UNAVAILABLE";
    case VersionState::kLoading: return "LOADING";
    case VersionState::kReady: return "READY";
    case VersionState::kUnloading: return "UNLOADING";
  }
  return "UNKNOWN";
}

struct Engine::State : StepModels {
  explicit State(EngineOptions given)
      : options(std::move(given)), cores(options.cores.empty() ? Cores() : Cores(options.cores)) {}

  // Finds new models in the repository, and ends those whose folders are gone. Anything else than "not found", such as a network
  // file system that fails, leaves a model as it is.
  void scan() {
    std::set<std::string> found, wrong;
    std::error_code error;
    for (fs::directory_iterator place(options.repository, error), end; !error && place != end; place.increment(error)) {
      const std::string name = place->path().filename();
      std::error_code none;
      if (name.front() == '.' || !place->is_directory(none)) continue;
      try {
        check_name(name, "model name");
        found.insert(name);
      } catch (const Error& invalid) {
        wrong.insert(invalid.what());
        if (!ignored.count(invalid.what()) && options.log)
          options.log("event=\"a folder is ignored\" reason=" + log_value(invalid.what()));
      }
    }
    ignored = std::move(wrong);
    std::vector<std::string> known;
    {
      const std::unique_lock lock(mutex);
      if (is_ended) return;  // nobody would end a model that is new
      for (const auto& [name, model] : models) known.push_back(name);
      for (const std::string& name : found)
        if (!models.count(name))
          models.emplace(name, lend(std::make_unique<ServedModel>(name, fs::path(options.repository) / name, options,
                                                                  cores, metrics, *this)));
    }
    std::vector<std::shared_ptr<ServedModel>> gone;
    for (const std::string& name : known) {
      std::error_code status_error;
      if (fs::status(fs::path(options.repository) / name, status_error).type() != fs::file_type::not_found) continue;
      const std::unique_lock lock(mutex);
      const auto place = models.find(name);
      gone.push_back(std::move(place->second));
      models.erase(place);
    }
    // Those that have finished leave nothing to wait for.
    ended.erase(std::remove_if(ended.begin(), ended.end(),
                               [](const std::future<void>& each) {
                                 return each.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
                               }),
                ended.end());
    if (!gone.empty())
      ended.push_back(std::async(std::launch::async, [gone = std::move(gone)]() mutable {
        // It ends here, never on the thread of a request, which may be one of the model.
        for (auto& model : gone) take_back(std::move(model));
      }));
  }

  // With the mutex held: "; it has: a, b, ...".
  std::string some_names() const {
    constexpr size_t kMost = 10;
    std::string text;
    size_t count = 0;
    for (const auto& [name, model] : models) {
      if (count++ == kMost) return text + ", ...";
      text += (text.empty() ? "; it has: " : ", ") + name;
    }
    return text;
  }

  std::shared_ptr<ServedModel> find(const std::string& model) const {
    check_name(model, "model name");
    const std::shared_lock lock(mutex);
    const auto found = models.find(model);
    if (found == models.end())
      throw Error(ErrorKind::kNotFound, "there is no model '" + model + "' in the repository" + some_names());
    return found->second;
  }

  std::shared_ptr<Servable> find_step(const std::string& model, const std::string& version) const override {
    auto found = find(model)->select(version);
    if (found->is_pipeline()) throw not_a_step(model);
    return found;
  }
  void wait_for_step(const std::string& model) const override {
    const auto found = find(model);
    if (found->is_pipeline()) throw not_a_step(model);
    found->look_and_wait(kStepWait);
  }
  static Error not_a_step(const std::string& model) {
    return Error(ErrorKind::kFailedPrecondition, "'" + model + "' is a pipeline, which cannot be a step");
  }

  std::vector<std::shared_ptr<ServedModel>> all() const {
    const std::shared_lock lock(mutex);
    std::vector<std::shared_ptr<ServedModel>> result;
    for (const auto& [name, model] : models) result.push_back(model);
    return result;
  }

  // Pipelines end before the models of their steps, which they need until then.
  void end_pipelines() {
    const auto every = all();
    for (const auto& model : every) model->join();  // no pipeline is loaded from here on
    const std::unique_lock lock(mutex);
    for (const auto& model : every)
      if (model->serves_pipeline()) models.erase(model->name());
  }

  // Looks at the repository and at all models. What fails, such as a new model when the process may have no more threads, is tried
  // again at the next look.
  void look() {
    std::string reason;
    try {
      const std::lock_guard scanning(scan_mutex);
      scan();
    } catch (const std::exception& error) {
      reason = error.what();
    }
    if (!reason.empty() && reason != failed_look && options.log)
      options.log("event=\"a look at the repository failed\" reason=" + log_value(reason));
    failed_look = std::move(reason);
    for (const auto& model : all()) model->look();
  }

  void watch() {
    pthread_setname_np(pthread_self(), "lw-watch");
    std::unique_lock lock(watch_mutex);
    while (!is_ended) {
      wake.wait_for(lock, options.poll, [this] { return is_ended.load(); });
      if (is_ended) break;
      lock.unlock();
      look();
      lock.lock();
    }
  }

  const EngineOptions options;
  Cores cores;
  Metrics metrics;
  mutable std::shared_mutex mutex;
  std::map<std::string, std::shared_ptr<ServedModel>> models;  // of lend()
  std::atomic<bool> loaded{false}, stopping{false};
  std::mutex start_mutex, scan_mutex;
  std::set<std::string> ignored;  // why folders are, which the log has; with scan_mutex held
  std::string failed_look;        // why the last look failed, which the log has; of the watcher
  bool is_started = false;
  std::mutex watch_mutex;
  std::condition_variable wake;
  std::atomic<bool> is_ended{false};
  std::thread watcher, first;
  std::vector<std::future<void>> ended;  // models that finish their requests; with scan_mutex held
};

Engine::Engine(EngineOptions options) {
  std::error_code none;
  if (!fs::is_directory(options.repository, none))
    throw Error(ErrorKind::kNotFound, "the repository " + options.repository + " is not a folder");
  if (options.cache.empty()) options.cache = (fs::path(options.repository) / ".cache").string();
  state_ = std::make_unique<State>(std::move(options));
  state_->metrics.trace = state_->options.trace;
  state_->metrics.cores.Add({}).Set(static_cast<double>(state_->cores.cpus().size()));
}

void Engine::start() {
  const std::lock_guard lock(state_->start_mutex);
  if (std::exchange(state_->is_started, true)) return;
  {
    const std::lock_guard scanning(state_->scan_mutex);
    state_->scan();
  }
  state_->first = std::thread([state = state_.get()] {
    for (const auto& model : state->all()) model->look_and_wait();
    state->loaded = true;
  });
  if (state_->options.poll.count() > 0) state_->watcher = std::thread([state = state_.get()] { state->watch(); });
}

bool Engine::is_loaded() const { return state_->loaded; }

Engine::~Engine() {
  stop();
  stop_loading();
  if (state_->watcher.joinable()) state_->watcher.join();
  if (state_->first.joinable()) state_->first.join();
  state_->end_pipelines();
}

void Engine::wait_until_loaded() {
  start();
  for (const auto& model : state_->all()) model->look_and_wait();
}

void Engine::infer(Request request, Done done) try {
  // This reference keeps the version until the request is in its queue, which is computed before the version ends.
  const std::shared_ptr<Servable> servable = state_->find(request.model)->select(request.version);
  servable->submit(request, with_classes(*servable, request, done));
} catch (const Error& error) {
  done({{request.model, 0, request.id, {}}, error});
} catch (const std::exception& error) {
  done({{request.model, 0, request.id, {}}, Error(ErrorKind::kInternal, error.what())});
}

Response Engine::infer(Request request) {
  std::promise<Result> promise;
  infer(std::move(request), [&promise](Result result) { promise.set_value(std::move(result)); });
  Result result = promise.get_future().get();
  if (result.error) throw *result.error;
  return std::move(result.response);
}

bool Engine::is_ready() const { return state_->loaded && !state_->stopping; }

bool Engine::is_ready(const std::string& model, const std::string& version) const {
  const auto found = state_->find(model);
  try {
    if (found->select(version)->health() != Health::kReady) return false;
  } catch (const Error&) {
    return false;
  }
  return !state_->stopping;
}

void Engine::stop_loading() {
  {
    const std::lock_guard lock(state_->watch_mutex);
    state_->is_ended = true;
  }
  state_->wake.notify_all();
  for (const auto& model : state_->all()) model->end();
}

void Engine::stop() { state_->stopping = true; }

ModelMetadata Engine::metadata(const std::string& model, const std::string& version) const {
  const auto found = state_->find(model);
  const auto selected = found->select(version);
  ModelMetadata result{model,
                       selected->number(),
                       {},
                       selected->platform(),
                       selected->inputs(),
                       selected->outputs(),
                       selected->instances(),
                       selected->threads(),
                       selected->max_queue()};
  for (const auto& each : found->ready()) result.versions.push_back(each->number());
  return result;
}

void Engine::load(const std::string& model) {
  {
    const std::lock_guard lock(state_->scan_mutex);
    state_->scan();
  }
  state_->find(model)->load();
}

void Engine::unload(const std::string& model) {
  state_->find(model)->unload();
  malloc_trim(0);
}

void Engine::promote(const std::string& model, const std::string& label, int64_t version, double percent) {
  state_->find(model)->promote(label, version, percent);
}

void Engine::refresh(const std::string& model) {
  {
    const std::lock_guard lock(state_->scan_mutex);
    state_->scan();
  }
  state_->find(model)->look_and_wait();
}

void Engine::remove_label(const std::string& model, const std::string& label) {
  state_->find(model)->remove_label(label);
}

std::vector<LabelEntry> Engine::labels(const std::string& model) const { return state_->find(model)->labels(); }

void Engine::roll_back(const std::string& model, const std::string& label) { state_->find(model)->roll_back(label); }

std::vector<IndexEntry> Engine::index() const {
  std::vector<IndexEntry> result;
  for (const auto& model : state_->all()) {
    const auto entries = model->index();
    result.insert(result.end(), entries.begin(), entries.end());
  }
  return result;
}

std::vector<ModelStatistics> Engine::statistics(const std::string& model, const std::string& version) const {
  std::vector<ModelStatistics> result;
  if (!model.empty() && !version.empty()) {
    result.push_back(state_->find(model)->select(version)->statistics());
    return result;
  }
  for (const auto& each : model.empty() ? state_->all() : std::vector{state_->find(model)})
    for (const auto& ready : each->ready()) result.push_back(ready->statistics());
  return result;
}

std::string Engine::metrics() const {
  size_t ready = 0, queued = 0;
  for (const auto& model : state_->all())
    for (const auto& version : model->ready()) {
      ++ready;
      queued += version->queued();
    }
  state_->metrics.models.Add({}).Set(static_cast<double>(ready));
  state_->metrics.depth.Add({}).Set(static_cast<double>(queued));
  state_->metrics.busy_cores.Add({}).Set(state_->cores.busy());
  auto& cpu = state_->metrics.cpu.Add({});
  cpu.Increment(std::max(0.0, cpu_secs() - cpu.Value()));
  state_->metrics.memory.Add({}).Set(resident_bytes());
  return prometheus::TextSerializer().Serialize(state_->metrics.registry->Collect());
}

}  // namespace loopwright::serving
