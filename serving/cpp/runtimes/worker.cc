// Runtimes in Python, each instance in a separate process: classes of users, and libraries of classical models.
#include <loopwright/affinity.h>
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "core/names.h"
#include "loopwright/serving/error.h"
#include "runtimes/runtimes.h"
#include "runtimes/worker_process.h"

namespace loopwright::serving {
namespace {

using std::chrono::seconds;
using Steady = std::chrono::steady_clock;

constexpr const char* kLimit = "run_timeout_ms";  // in [parameters]
constexpr seconds kSoon{10}, kLongestDelay{60};

// Starts the process again when it has ended: at once, but after 1, 2, 4, ... seconds if it ends again soon after a start.
class WorkerInstance : public Instance {
 public:
  WorkerInstance(WorkerOptions options, const CoreSet& cores, std::function<void(const std::string&)> log,
                 std::shared_ptr<WorkerProcess> first)
      : options_(std::move(options)), cores_(cores), log_(std::move(log)), process_(std::move(first)) {
    if (!process_) process_ = std::make_shared<WorkerProcess>(options_);
    options_.stop = &is_closing_;
    keeper_ = std::thread([this] { keep(); });
  }
  ~WorkerInstance() override {
    {
      const std::lock_guard lock(mutex_);
      is_closing_ = true;
      if (process_) process_->end();
    }
    changed_.notify_all();
    keeper_.join();
  }

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) override {
    std::shared_ptr<WorkerProcess> process;
    {
      const std::lock_guard lock(mutex_);
      process = process_;
    }
    if (!process) throw InstanceLost("the worker ended");
    try {
      return process->run(inputs);
    } catch (const InstanceLost&) {
      const std::lock_guard lock(mutex_);  // the keeper may notice it later
      process->kill();                     // it may live on without its socket
      if (process_ == process) {
        process_ = nullptr;
        health_ = Health::kStarting;
      }
      throw;
    }
  }

  Health health() const override {
    const std::lock_guard lock(mutex_);
    return health_;
  }

 private:
  void keep() {
    pthread_setname_np(pthread_self(), "lw-keeper");
    CpuMask(cores_).enter();  // of new processes
    int failures = 0;
    Steady::time_point started = Steady::now();
    std::unique_lock lock(mutex_);
    std::shared_ptr<WorkerProcess> process = process_;
    for (;;) {
      lock.unlock();
      std::string reason = process ? "ended with " + process->wait() : "";
      process = nullptr;
      lock.lock();
      if (is_closing_) return;
      process_ = nullptr;
      failures = Steady::now() - started < kSoon ? failures + 1 : 1;
      for (;;) {
        const seconds delay =
            failures == 1 ? seconds(0) : std::min(kLongestDelay, seconds(int64_t{1} << std::min(failures - 2, 8)));
        health_ = failures == 1 ? Health::kStarting : Health::kFailed;
        log_("worker " + printable(reason) + "; it is started again after " + std::to_string(delay.count()) + " s");
        if (changed_.wait_for(lock, delay, [this] { return is_closing_.load(); })) return;
        lock.unlock();
        try {
          process = std::make_shared<WorkerProcess>(options_);
        } catch (const std::exception& error) {
          reason = error.what();
        }
        lock.lock();
        if (process) break;
        ++failures;
      }
      started = Steady::now();
      process_ = process;
      health_ = Health::kReady;
      if (is_closing_) process->end();
      log_("worker started again");
    }
  }

  WorkerOptions options_;
  const CoreSet cores_;
  const std::function<void(const std::string&)> log_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<WorkerProcess> process_;  // null: it has ended, and another one is started
  Health health_ = Health::kReady;
  std::atomic<bool> is_closing_{false};
  std::thread keeper_;
};

class WorkerModel : public RuntimeModel {
 public:
  WorkerModel(WorkerOptions options, const LoadOptions& load)
      : options_(std::move(options)),
        batches_(load.batches),
        log_(load.log),
        first_(std::make_shared<WorkerProcess>(options_)),
        inputs_(first_->inputs()),
        outputs_(first_->outputs()) {
    if (!batches_.empty()) check_batches(inputs_);
  }
  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  std::vector<int64_t> batches() const override { return batches_; }
  bool is_in_process() const override { return false; }
  std::unique_ptr<Instance> instance(const CoreSet& cores) override {
    return std::make_unique<WorkerInstance>(options_, cores, log_, std::exchange(first_, nullptr));
  }

 private:
  const WorkerOptions options_;
  const std::vector<int64_t> batches_;
  const std::function<void(const std::string&)> log_;
  std::shared_ptr<WorkerProcess> first_;  // of the first instance
  const std::vector<TensorSpec> inputs_, outputs_;
};

std::unique_ptr<RuntimeModel> load(const char* kind, const std::vector<std::string>& paths, const LoadOptions& given) {
  if (given.python.empty())
    throw std::runtime_error(std::string(kind) + " needs Python, which the server does not have");
  WorkerOptions options;
  options.python = given.python;
  options.kind = kind;
  options.path = paths.front();
  options.threads = given.threads;
  options.label = given.label;
  options.parameters = given.parameters;
  options.stop = given.stop;
  if (const auto limit = options.parameters.extract(kLimit)) {
    constexpr int64_t kMost = 86'400'000;
    const std::string& value = limit.mapped();
    if (!is_number(value) || value.size() > 8 || std::stoll(value) < 1 || std::stoll(value) > kMost)
      throw invalid(std::string("parameters.") + kLimit + " must be a number from 1 to " + std::to_string(kMost));
    options.limit = std::chrono::milliseconds(std::stoll(value));
  }
  return std::make_unique<WorkerModel>(std::move(options), given);
}

}  // namespace

std::unique_ptr<RuntimeModel> load_python(const std::vector<std::string>& paths, const LoadOptions& options) {
  return load("python", paths, options);
}
std::unique_ptr<RuntimeModel> load_sklearn(const std::vector<std::string>& paths, const LoadOptions& options) {
  return load("sklearn", paths, options);
}
std::unique_ptr<RuntimeModel> load_xgboost(const std::vector<std::string>& paths, const LoadOptions& options) {
  return load("xgboost", paths, options);
}
std::unique_ptr<RuntimeModel> load_lightgbm(const std::vector<std::string>& paths, const LoadOptions& options) {
  return load("lightgbm", paths, options);
}

}  // namespace loopwright::serving
