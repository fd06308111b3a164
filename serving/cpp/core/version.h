// One version of a model, loaded: its instances and their queue.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/batch.h"
#include "core/config.h"
#include "core/cores.h"
#include "core/queue.h"
#include "core/servable.h"
#include "core/statistics.h"
#include "loopwright/serving/request.h"
#include "loopwright/serving/runtime.h"

namespace loopwright::serving {

// Returns the threads of each instance of a model.
int threads_of(const ModelConfig& config, const Cores& cores);

class Version : public Servable {
 public:
  // Loads the model and runs each instance once, so that it is warm before it takes requests. `where` has the libraries, the
  // interpreter and the log of the load; the rest is that of the configuration. Throws std::exception.
  Version(const std::string& model, int64_t number, const Runtime& runtime, const std::vector<std::string>& paths,
          const ModelConfig& config, LoadOptions where, std::string note, Cores& cores, Metrics& metrics);
  // Computes what is in the queue, then ends. Must not run on an instance's thread.
  ~Version() override;
  Version(const Version&) = delete;
  Version& operator=(const Version&) = delete;

  int64_t number() const override { return number_; }
  const std::string& note() const override { return note_; }
  const char* platform() const override { return runtime_.platform; }
  const std::vector<TensorSpec>& inputs() const override { return loaded_->inputs(); }
  const std::vector<TensorSpec>& outputs() const override { return loaded_->outputs(); }
  int instances() const override { return static_cast<int>(sets_.size()); }
  int threads() const override { return static_cast<int>(sets_.front().size()); }
  int max_queue() const override { return config_.max_queue; }
  size_t queued() const override { return queue_.size(); }
  ModelStatistics statistics() const override;
  // The best of the instances.
  Health health() const override;
  void submit(const Request& request, Done done) override;

 private:
  // An instance and the thread that serves the queue with it.
  struct Worker {
    Worker(CoreSet set, std::unique_ptr<Instance> made, InstanceMetrics counts)
        : cores(std::move(set)), instance(std::move(made)), metrics(std::move(counts)) {}
    const CoreSet cores;
    const std::unique_ptr<Instance> instance;
    InstanceMetrics metrics;
    std::mutex running;  // held during a run
    std::thread thread;
  };

  void end();
  void serve(Worker& worker);
  // Waits while another instance can run what is in the queue, and this one cannot.
  void wait_until_needed(const Worker& worker) const;
  // What became of a job.
  struct Outcome {
    std::vector<Tensor> outputs;
    std::optional<Error> error;
    Clock::time_point start, end;  // of its run
    int64_t items = 0;             // of all jobs of its run; 0: the model has no batches
    bool is_lost = false;          // the instance ended, so it can run again
  };

  // Runs jobs on a worker whose mutex and cores are held.
  std::vector<Outcome> compute(const std::vector<Job>& jobs, Worker& worker);
  void compute(const Job* jobs, size_t count, Worker& worker, Outcome* outcomes);
  // Calls those who wait, after mutex and cores were released. Jobs that were lost for the first time go back to the queue.
  void finish(std::vector<Job>& jobs, std::vector<Outcome>& outcomes, Worker& worker);
  // Notes whether runs are short.
  void note_time(const Outcome& outcome);
  // Runs the job on the calling thread, if an instance is free. Returns false, and leaves it, otherwise.
  bool run_here(Job& job);
  Job job_of(const Request& request) const;

  const std::string model_;
  const int64_t number_;
  const std::string note_;
  const Runtime& runtime_;
  const ModelConfig config_;
  Cores& cores_;
  VersionMetrics metrics_;
  std::vector<CoreSet> sets_;
  std::unique_ptr<RuntimeModel> loaded_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::optional<Batches> batches_;     // if the model has them
  bool can_be_short_ = false;          // one thread, in this process, and a time that does not depend on shapes
  std::atomic<int> short_runs_{0};     // since the last slow one
  std::atomic<bool> is_short_{false};  // a run takes less than to wake a thread for it
  JobQueue queue_;
};

}  // namespace loopwright::serving
