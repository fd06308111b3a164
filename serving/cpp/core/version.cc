#include "core/version.h"

#include <loopwright/affinity.h>
#include <pthread.h>

#include <algorithm>

#include "core/on_cores.h"
#include "core/specs.h"

namespace loopwright::serving {
namespace {

// To wake a thread takes about as long, in the server and for the client that waits.
constexpr std::chrono::microseconds kShort{50}, kLong{500};
constexpr int kShortRuns = 32;  // one after the other, after which runs count as short again

// Between two looks at an instance that starts again.
constexpr std::chrono::milliseconds kLook{5};

// Of a request. Each becomes part of a run, and the plan of the runs takes memory.
constexpr int64_t kMostItems = 65536;

constexpr const char* kOwner = "the model";  // of tensors, in messages

// Whether all sizes but those of a batch are fixed.
bool has_fixed_sizes(const std::vector<TensorSpec>& specs, bool has_batches) {
  return std::all_of(specs.begin(), specs.end(), [has_batches](const TensorSpec& spec) {
    const size_t first = has_batches ? 1 : 0;
    return spec.type != DataType::kBytes &&
           std::all_of(spec.shape.begin() + static_cast<ptrdiff_t>(std::min(first, spec.shape.size())),
                       spec.shape.end(), [](int64_t size) { return size >= 0; });
  });
}

// Runs on zeros until it is warm, and returns the least time. A model of a user may reject zeros, which are not an image, say: then
// it does not become warm.
std::optional<Clock::duration> warm_up(const TimedRun& run, const std::vector<TensorSpec>& inputs) try {
  return least_time(run, zeros(inputs, 1));
} catch (const Error& error) {
  if (error.kind() != ErrorKind::kInvalidArgument) throw;
  return std::nullopt;
}

}  // namespace

int threads_of(const ModelConfig& config, const Cores& cores) {
  if (config.threads > 0) return config.threads;
  return std::clamp(static_cast<int>(cores.cpus().size()) / config.instances, 1, cores.most_threads());
}

Version::Version(const std::string& model, int64_t number, const Runtime& runtime,
                 const std::vector<std::string>& paths, const ModelConfig& config, LoadOptions where, std::string note,
                 Cores& cores, Metrics& metrics)
    : model_(model),
      number_(number),
      note_(std::move(note)),
      runtime_(runtime),
      config_(config),
      cores_(cores),
      metrics_(metrics, model, number),
      queue_(static_cast<size_t>(config.max_queue), config.instances) {
  const int threads = threads_of(config, cores);
  sets_ = cores.assign(config.instances, threads);
  try {
    where.threads = threads;
    where.batches = config.batches;
    where.parameters = config.parameters;
    where.operators = config.operators;
    {
      const OnCores scope(sets_.front());
      loaded_ = runtime.load(paths, where);
    }
    const auto sizes = loaded_->batches();
    if (!sizes.empty() && inputs().empty())
      throw Error(ErrorKind::kFailedPrecondition, "a model without inputs cannot have batches");
    for (const CoreSet& set : sets_) {
      const OnCores scope(set);
      workers_.push_back(std::make_unique<Worker>(set, loaded_->instance(set),
                                                  InstanceMetrics(metrics, model, number, workers_.size(), set)));
      // Other models run between these runs.
      const auto timed = [&](const std::vector<Tensor>& given) {
        const Cores::Lease lease(cores, set);
        return run_timed(*workers_.back()->instance, given);
      };
      const std::optional<Clock::duration> time = warm_up(timed, inputs());
      if (workers_.size() > 1) continue;
      if (time) queue_.note(*time);
      can_be_short_ = threads == 1 && loaded_->is_in_process() && has_fixed_sizes(inputs(), !sizes.empty());
      is_short_ = can_be_short_ && time && *time < kShort;
      if (!sizes.empty()) batches_ = Batches::measure(sizes, inputs(), timed);
    }
    for (const auto& worker : workers_) worker->thread = std::thread([this, place = worker.get()] { serve(*place); });
  } catch (...) {
    end();
    throw;
  }
}

Version::~Version() { end(); }

void Version::end() {
  queue_.close();
  for (const auto& worker : workers_)
    if (worker->thread.joinable()) worker->thread.join();
  workers_.clear();
  cores_.release(sets_);
}

Job Version::job_of(const Request& request) const {
  Job job;
  job.inputs = ordered_inputs(request, inputs(), kOwner);
  if (batches_) {
    job.items = job.inputs.front().shape()[0];
    if (job.items > kMostItems)
      throw Error(ErrorKind::kInvalidArgument,
                  "a request has at most " + std::to_string(kMostItems) + " items, got " + std::to_string(job.items),
                  Rejection::kLimit);
    for (const Tensor& input : job.inputs)
      if (input.shape()[0] != job.items || job.items < 1)
        throw invalid("the first dimension of all inputs must be the same number of items, at least 1");
  }
  job.priority = request.priority;
  job.deadline = request.deadline;
  job.cancelled = request.cancelled;
  job.trace = request.trace;
  return job;
}

Health Version::health() const {
  Health best = Health::kFailed;
  for (const auto& worker : workers_) best = std::min(best, worker->instance->health());
  return best;
}

ModelStatistics Version::statistics() const {
  ModelStatistics result = metrics_.statistics();
  for (const auto& worker : workers_) result.instances.push_back(worker->metrics.statistics());
  return result;
}

void Version::submit(const Request& request, Done done) {
  const Clock::time_point arrival = Clock::now();
  const auto rejected = [&](Error error) {
    metrics_.note_failure(error.kind(), Clock::now() - arrival);
    return error;
  };
  Job job;
  std::vector<size_t> wanted;
  try {
    job = job_of(request);
    wanted = ordered_outputs(request, outputs(), kOwner);
    if (health() == Health::kFailed)
      throw Error(ErrorKind::kUnavailable,
                  "the workers of '" + model_ + "' ended and do not start; the log has the reason",
                  Rejection::kNotReady);
  } catch (const Error& error) {
    throw rejected(error);
  }
  job.arrival = arrival;
  if (!job.deadline && config_.timeout) job.deadline = arrival + *config_.timeout;
  job.done = [this, id = request.id, wanted = std::move(wanted), arrival, items = batches_ ? job.items : 0,
              done = std::move(done)](std::vector<Tensor> tensors, std::optional<Error> error) {
    if (error) metrics_.note_failure(error->kind(), Clock::now() - arrival);
    Result result{{model_, number_, id, {}}, std::move(error), items};
    if (!result.error)
      for (const size_t place : wanted) result.response.outputs.push_back({outputs()[place].name, tensors[place]});
    done(std::move(result));
  };
  if (is_short_ && job.items == 1 && run_here(job)) return;
  const Rejection reason = queue_.push(job);
  if (reason == Rejection::kNone) return;
  const std::string queue = "the queue of '" + model_ + "'";
  throw rejected(Error(ErrorKind::kResourceExhausted,
                       reason == Rejection::kQueueFull
                           ? queue + " is full (" + std::to_string(config_.max_queue) + " requests); try later"
                           : "the requests before it in " + queue + " take longer than its deadline; try later",
                       reason));
}

bool Version::run_here(Job& job) {
  if (!queue_.is_idle() || (job.deadline && Clock::now() >= *job.deadline)) return false;
  for (const auto& worker : workers_) {
    std::unique_lock running(worker->running, std::try_to_lock);
    if (!running) continue;
    std::optional<Cores::Lease> lease(std::in_place, cores_, worker->cores, std::try_to_lock);
    if (!lease->held()) continue;
    std::vector<Job> jobs;
    jobs.push_back(std::move(job));
    std::vector<Outcome> outcomes = compute(jobs, *worker);
    lease.reset();
    running.unlock();
    note_time(outcomes.front());
    finish(jobs, outcomes, *worker);
    return true;
  }
  return false;
}

void Version::note_time(const Outcome& outcome) {
  if (!can_be_short_) return;
  const Clock::duration time = outcome.end - outcome.start;
  if (time > kLong) {
    // A time may depend on data: one slow run holds up the connections of its thread, the next one does not.
    is_short_ = false;
    short_runs_ = 0;
  } else if (time >= kShort) {
    short_runs_ = 0;
  } else if (!is_short_ && ++short_runs_ >= kShortRuns) {
    is_short_ = true;  // the slow one was the operating system's, say
  }
}

void Version::serve(Worker& worker) {
  pthread_setname_np(pthread_self(), "lw-instance");
  CpuMask(worker.cores).enter();
  const int64_t most_items = batches_ ? batches_->best() : 1;
  std::vector<Job> jobs;
  for (;;) {
    wait_until_needed(worker);
    if (!queue_.take(jobs, most_items)) break;
    std::vector<Outcome> outcomes;
    {
      const std::lock_guard running(worker.running);
      const Cores::Lease lease(cores_, worker.cores);
      outcomes = compute(jobs, worker);
    }
    if (jobs.size() == 1) note_time(outcomes.front());
    finish(jobs, outcomes, worker);
    jobs.clear();  // the memory of their tensors
  }
}

void Version::wait_until_needed(const Worker& worker) const {
  while (worker.instance->health() != Health::kReady && health() != Health::kFailed && !queue_.is_closed())
    std::this_thread::sleep_for(kLook);
}

std::vector<Version::Outcome> Version::compute(const std::vector<Job>& jobs, Worker& worker) {
  std::vector<Outcome> outcomes(jobs.size());
  const Clock::time_point start = Clock::now();
  compute(jobs.data(), jobs.size(), worker, outcomes.data());
  if (jobs.size() > 1)  // one request may have failed the batch: the others run alone
    for (size_t i = 0; i < jobs.size(); ++i)
      if (outcomes[i].error && !outcomes[i].is_lost) compute(&jobs[i], 1, worker, &outcomes[i]);
  const Clock::duration time = Clock::now() - start;
  worker.metrics.note_busy(time);
  queue_.note(time / static_cast<int64_t>(jobs.size()));
  return outcomes;
}

void Version::compute(const Job* jobs, size_t count, Worker& worker, Outcome* outcomes) {
  const Clock::time_point start = Clock::now();
  std::optional<Error> error;
  bool is_lost = false;
  int64_t items = 0;
  size_t done = 0;
  const auto note_run = [&](int64_t size) {
    metrics_.note_execution();
    worker.metrics.note_batch(size);
  };
  const auto note = [&](size_t place, std::vector<Tensor> outputs) {
    outcomes[place] = {std::move(outputs), std::nullopt, start, Clock::now(), items, false};
    ++done;
  };
  try {
    if (batches_) {
      for (size_t i = 0; i < count; ++i) items += jobs[i].items;
      const std::vector<int64_t> sizes = batches_->divide(items);
      for (const int64_t size : sizes) note_run(size);
      run_batches(jobs, sizes, *worker.instance, note);
    } else {
      note_run(1);
      note(0, worker.instance->run(jobs[0].inputs));
    }
  } catch (const Error& raised) {
    error = raised;
  } catch (const std::exception& raised) {
    error = Error(ErrorKind::kInternal, std::string(runtime_.name) + " failed: " + raised.what());
    is_lost = dynamic_cast<const InstanceLost*>(&raised);
  }
  for (; done < count; ++done) outcomes[done] = {{}, error, start, Clock::now(), items, is_lost};
}

void Version::finish(std::vector<Job>& jobs, std::vector<Outcome>& outcomes, Worker& worker) {
  for (size_t i = 0; i < jobs.size(); ++i) {
    Outcome& outcome = outcomes[i];
    if (outcome.is_lost && !jobs[i].is_second) {
      jobs[i].is_second = true;
      queue_.put_back(std::move(jobs[i]));
      continue;
    }
    if (outcome.is_lost)
      outcome.error =
          Error(ErrorKind::kUnavailable, "a worker of '" + model_ + "' ended during the request, twice; try later",
                Rejection::kNotReady);
    if (!outcome.error) {
      const Clock::duration time = outcome.end - outcome.start;
      worker.metrics.note_compute(time);
      metrics_.note_success(jobs[i].items, outcome.start - jobs[i].arrival, time, outcome.end - jobs[i].arrival);
    }
    if (jobs[i].trace.is_sampled)
      metrics_.note_traced({jobs[i].trace,
                            {},
                            0,
                            jobs[i].arrival,
                            outcome.start,
                            outcome.end,
                            batches_ ? jobs[i].items : 0,
                            outcome.items,
                            outcome.error.has_value()});
    try {
      jobs[i].done(std::move(outcome.outputs), std::move(outcome.error));
    } catch (const std::exception&) {
      // Such as no memory for a response. Its caller gets none; the others do.
    }
  }
}

}  // namespace loopwright::serving
