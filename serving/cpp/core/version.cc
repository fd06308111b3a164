#include "core/version.h"

#include <loopwright/affinity.h>
#include <pthread.h>

#include <algorithm>

#include "core/on_cores.h"

namespace loopwright::serving {
namespace {

// To wake a thread takes about as long, in the server and for the client that waits.
constexpr std::chrono::microseconds kShort{50};

Error invalid(const std::string& what) { return Error(ErrorKind::kInvalidArgument, what); }

// Zeros for the first run. Sizes that may vary are 1.
std::vector<Tensor> zeros(const std::vector<TensorSpec>& specs) {
  std::vector<Tensor> result;
  for (const TensorSpec& spec : specs) {
    std::vector<int64_t> shape = spec.shape;
    for (int64_t& size : shape) size = std::max<int64_t>(size, spec.type == DataType::kBytes || size < 0 ? 1 : 0);
    const size_t bytes = spec.type == DataType::kBytes ? sizeof(uint32_t) : element_bytes(spec.type);
    const auto count = static_cast<size_t>(element_count(shape));
    result.push_back(Tensor::of(spec.type, std::move(shape), std::string(count * bytes, '\0')));
  }
  return result;
}

bool fits(const std::vector<int64_t>& shape, const std::vector<int64_t>& spec) {
  return std::equal(shape.begin(), shape.end(), spec.begin(), spec.end(),
                    [](int64_t size, int64_t wanted) { return wanted < 0 || size == wanted; });
}

std::string names(const std::vector<TensorSpec>& specs) {
  std::string result;
  for (const TensorSpec& spec : specs) result += (result.empty() ? "" : ", ") + spec.name;
  return result;
}

size_t place_of(const std::string& name, const std::vector<TensorSpec>& specs, const char* what) {
  const auto found =
      std::find_if(specs.begin(), specs.end(), [&name](const TensorSpec& spec) { return spec.name == name; });
  if (found == specs.end())
    throw invalid("the model has no " + std::string(what) + " '" + name + "'; choose from: " + names(specs));
  return static_cast<size_t>(found - specs.begin());
}

// Runs until it is warm: five times, or for 20 ms. Returns the least time.
Clock::duration warm_up(Instance& instance, const std::vector<Tensor>& arguments) {
  Clock::duration least = Clock::duration::max();
  const Clock::time_point begin = Clock::now();
  for (int run = 0; run < 5 && Clock::now() - begin < std::chrono::milliseconds(20); ++run) {
    const Clock::time_point start = Clock::now();
    instance.run(arguments);
    least = std::min(least, Clock::now() - start);
  }
  return least;
}

}  // namespace

int threads_of(const ModelConfig& config, const Cores& cores) {
  if (config.threads > 0) return config.threads;
  return std::max(1, static_cast<int>(cores.cpus().size()) / config.instances);
}

Version::Version(const std::string& model, int64_t number, const Runtime& runtime,
                 const std::vector<std::string>& paths, const ModelConfig& config,
                 const std::map<std::string, std::string>& libraries, Cores& cores, Metrics& metrics)
    : model_(model),
      number_(number),
      runtime_(runtime),
      config_(config),
      cores_(cores),
      metrics_(metrics, model, number),
      queue_(static_cast<size_t>(config.max_queue), config.instances) {
  const int threads = threads_of(config, cores);
  sets_ = cores.assign(config.instances, threads);
  try {
    loaded_ = runtime.load(paths, {threads, config.batches, config.parameters, libraries});
    const auto sizes = loaded_->batches();
    const std::vector<Tensor> arguments = zeros(inputs());
    for (const CoreSet& set : sets_) {
      const OnCores scope(set);
      workers_.push_back(std::make_unique<Worker>());
      workers_.back()->cores = set;
      workers_.back()->instance = loaded_->instance(set);
      const Cores::Lease lease(cores, set);
      Instance& instance = *workers_.back()->instance;
      const Clock::duration time = warm_up(instance, arguments);
      if (workers_.size() > 1) continue;
      is_short_ = threads == 1 && time < kShort;
      queue_.note(time);
      if (!sizes.empty()) batches_ = Batches::measure(sizes, inputs(), instance);
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
  job.arrival = Clock::now();
  const auto& specs = inputs();
  job.inputs.resize(specs.size());
  std::vector<bool> given(specs.size());
  for (const NamedTensor& input : request.inputs) {
    const size_t place = place_of(input.name, specs, "input");
    const TensorSpec& spec = specs[place];
    if (given[place]) throw invalid("input '" + input.name + "' is given twice");
    if (input.tensor.type() != spec.type)
      throw invalid("input '" + input.name + "' must be of " + name(spec.type) + ", got " + name(input.tensor.type()));
    if (!fits(input.tensor.shape(), spec.shape))
      throw invalid("input '" + input.name + "' must have the shape " + text(spec.shape) + ", got " +
                    text(input.tensor.shape()));
    given[place] = true;
    job.inputs[place] = input.tensor;
  }
  for (size_t i = 0; i < specs.size(); ++i)
    if (!given[i]) throw invalid("input '" + specs[i].name + "' is missing; the model takes: " + names(specs));
  if (batches_) {
    job.items = job.inputs.front().shape()[0];
    for (size_t i = 0; i < specs.size(); ++i)
      if (job.inputs[i].shape()[0] != job.items || job.items < 1)
        throw invalid("the first dimension of all inputs must be the same number of items, at least 1");
  }
  job.priority = request.priority;
  job.deadline = request.deadline;
  if (!job.deadline && config_.timeout) job.deadline = job.arrival + *config_.timeout;
  job.cancelled = request.cancelled;
  return job;
}

std::vector<size_t> Version::wanted_outputs(const Request& request) const {
  std::vector<size_t> wanted;
  if (request.outputs.empty()) {
    for (size_t i = 0; i < outputs().size(); ++i) wanted.push_back(i);
  } else {
    for (const std::string& output : request.outputs) wanted.push_back(place_of(output, outputs(), "output"));
  }
  return wanted;
}

bool Version::submit(Request& request, Done& done) {
  Job job = job_of(request);
  const auto arrival = job.arrival;
  job.done = [this, id = request.id, wanted = wanted_outputs(request), arrival, done](std::vector<Tensor> tensors,
                                                                                      std::optional<Error> error) {
    Result result{{model_, number_, id, {}}, std::move(error)};
    if (result.error) {
      metrics_.note_failure(result.error->kind(), Clock::now() - arrival);
    } else {
      for (const size_t place : wanted) result.response.outputs.push_back({outputs()[place].name, tensors[place]});
    }
    done(std::move(result));
  };
  if (is_short_ && run_here(job)) return true;
  switch (queue_.push(job)) {
    case Rejection::kNone: return true;
    case Rejection::kClosed: return false;
    case Rejection::kFull:
      metrics_.note_failure(ErrorKind::kResourceExhausted, {});
      throw Error(ErrorKind::kResourceExhausted, "the queue of '" + model_ + "' is full (" +
                                                     std::to_string(config_.max_queue) + " requests); try later");
    case Rejection::kTooLate:
      metrics_.note_failure(ErrorKind::kResourceExhausted, {});
      throw Error(ErrorKind::kResourceExhausted,
                  "the requests before it in the queue of '" + model_ + "' take longer than its deadline; try later");
  }
  return false;
}

bool Version::run_here(Job& job) {
  if (!queue_.is_idle() || (job.deadline && Clock::now() >= *job.deadline)) return false;
  for (const auto& worker : workers_) {
    const std::unique_lock running(worker->running, std::try_to_lock);
    if (!running) continue;
    const Cores::Lease lease(cores_, worker->cores, std::try_to_lock);
    if (!lease.held()) continue;
    std::vector<Job> jobs;
    jobs.push_back(std::move(job));
    run(jobs, *worker->instance);
    return true;
  }
  return false;
}

void Version::serve(Worker& worker) {
  pthread_setname_np(pthread_self(), "lw-instance");
  CpuMask(worker.cores).enter();
  const int64_t most_items = batches_ ? batches_->best() : 1;
  std::vector<Job> jobs;
  while (queue_.take(jobs, most_items)) {
    const std::lock_guard running(worker.running);
    const Cores::Lease lease(cores_, worker.cores);
    run(jobs, *worker.instance);
  }
}

void Version::run(std::vector<Job>& jobs, Instance& instance) {
  const Clock::time_point start = Clock::now();
  size_t done = 0;  // jobs that have their outputs
  const auto finish = [&](size_t place, std::vector<Tensor> outputs) {
    const Clock::time_point end = Clock::now();
    Job& job = jobs[place];
    metrics_.note_success(start - job.arrival, end - start, end - job.arrival);
    job.done(std::move(outputs), std::nullopt);
    ++done;
  };
  std::optional<Error> error;
  try {
    if (batches_) {
      int64_t items = 0;
      for (const Job& job : jobs) items += job.items;
      const std::vector<int64_t> sizes = batches_->divide(items);
      for (const int64_t size : sizes) metrics_.note_execution(static_cast<size_t>(size));
      run_batches(jobs, sizes, instance, finish);
    } else {
      metrics_.note_execution(1);
      finish(0, instance.run(jobs.front().inputs));
    }
  } catch (const Error& raised) {
    error = raised;
  } catch (const std::exception& raised) {
    error = Error(ErrorKind::kInternal, std::string(runtime_.name) + " failed: " + raised.what());
  }
  for (; done < jobs.size(); ++done) jobs[done].done({}, error);
  queue_.note((Clock::now() - start) / static_cast<int64_t>(jobs.size()));
  jobs.clear();  // the memory of their tensors
}

}  // namespace loopwright::serving
