#include "core/pipeline.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "core/specs.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

constexpr const char* kOwner = "the pipeline";  // of tensors, in messages

Error wrong(const std::string& what) { return Error(ErrorKind::kFailedPrecondition, what); }

// "step 2 (detect)", from an index.
std::string name_of(size_t index, const StepConfig& step) {
  return "step " + std::to_string(index + 1) + " (" + step.model + ")";
}

// Returns the names of tensors by the names of the model: those that are given, for all others the same one if `others`.
std::map<std::string, std::string> mapping(const std::map<std::string, std::string>& given,
                                           const std::vector<TensorSpec>& specs, bool others, const char* what,
                                           const std::string& step) {
  for (const auto& [name, tensor] : given)
    if (!find_spec(specs, name))
      throw wrong(step + ": its model has no " + what + " '" + name + "'; choose from: " + names_of(specs));
  std::map<std::string, std::string> result = given;
  if (others)
    for (const TensorSpec& spec : specs) result.try_emplace(spec.name, spec.name);
  return result;
}

// Narrows the open sizes of `spec` by those of `other`. Returns whether a tensor can have both.
bool narrow(TensorSpec& spec, const TensorSpec& other) {
  if (spec.type != other.type || spec.shape.size() != other.shape.size()) return false;
  for (size_t i = 0; i < spec.shape.size(); ++i) {
    if (spec.shape[i] < 0) spec.shape[i] = other.shape[i];
    if (other.shape[i] >= 0 && other.shape[i] != spec.shape[i]) return false;
  }
  return true;
}

std::string text_of(const TensorSpec& spec) { return std::string(name(spec.type)) + " " + text(spec.shape); }

// A tensor of a step, and its place among those of the pipeline.
struct Port {
  std::string name;
  size_t slot;
};

struct Step {
  std::string model, version, label;  // the label is for messages
  std::vector<Port> inputs, outputs;
};

// A tensor of the pipeline.
struct Slot {
  TensorSpec spec;
  bool is_made = false, is_used = false;  // by steps
  std::vector<size_t> users;              // one entry for each input that it is
};

}  // namespace

struct Pipeline::Plan {
  Plan(std::string model, Metrics& metrics, const StepModels& others)
      : name(std::move(model)), models(others), counts(metrics, name, kNumber) {}

  // Returns the place of a tensor, which has `spec` too.
  size_t place(const std::string& tensor, const TensorSpec& spec, const std::string& step) {
    const auto [found, is_new] = places.try_emplace(tensor, slots.size());
    if (is_new) slots.push_back({{tensor, spec.type, spec.shape}, false, false, {}});
    TensorSpec& known = slots[found->second].spec;
    const std::string before = text_of(known);
    if (!narrow(known, spec))
      throw wrong(step + ": the tensor '" + tensor + "' is " + before + " elsewhere, and " + text_of(spec) + " here");
    return found->second;
  }
  void add(size_t index, const StepConfig& config);
  // Throws unless each step can run some time.
  void check_order() const;
  void set_outputs(const std::vector<std::string>& wanted);

  void begin_run() {
    const std::lock_guard lock(mutex);
    ++runs;
  }
  void end_run() {
    const std::lock_guard lock(mutex);
    if (--runs == 0) ended.notify_all();
  }

  const std::string name;
  const StepModels& models;
  VersionMetrics counts;
  std::optional<std::chrono::milliseconds> timeout;
  std::vector<Step> steps;
  std::map<std::string, size_t> places;
  std::vector<Slot> slots;
  std::vector<TensorSpec> inputs, outputs;
  std::mutex mutex;
  std::condition_variable ended;
  int runs = 0;
};

void Pipeline::Plan::add(size_t index, const StepConfig& config) {
  Step step{config.model, config.version, name_of(index, config), {}, {}};
  std::shared_ptr<Servable> model;
  try {
    models.wait_for_step(config.model);
    model = models.find_step(config.model, config.version);
  } catch (const Error& error) {
    throw Error(error.kind(), step.label + ": " + error.what());
  }
  for (const auto& [own, tensor] : mapping(config.inputs, model->inputs(), true, "input", step.label)) {
    const size_t slot = place(tensor, *find_spec(model->inputs(), own), step.label);
    slots[slot].is_used = true;
    slots[slot].users.push_back(index);
    step.inputs.push_back({own, slot});
  }
  const bool all = config.outputs.empty();
  for (const auto& [own, tensor] : mapping(config.outputs, model->outputs(), all, "output", step.label)) {
    const size_t slot = place(tensor, *find_spec(model->outputs(), own), step.label);
    if (std::exchange(slots[slot].is_made, true))
      throw wrong(step.label + ": the tensor '" + tensor + "' is an output of another step");
    step.outputs.push_back({own, slot});
  }
  steps.push_back(std::move(step));
}

void Pipeline::Plan::check_order() const {
  std::vector<bool> is_there(slots.size()), has_run(steps.size());
  for (size_t i = 0; i < slots.size(); ++i) is_there[i] = !slots[i].is_made;
  for (size_t round = 0; round < steps.size(); ++round)
    for (size_t i = 0; i < steps.size(); ++i) {
      const auto& inputs = steps[i].inputs;
      if (has_run[i] || !std::all_of(inputs.begin(), inputs.end(), [&](const Port& p) { return is_there[p.slot]; }))
        continue;
      has_run[i] = true;
      for (const Port& output : steps[i].outputs) is_there[output.slot] = true;
    }
  const auto stuck = std::find(has_run.begin(), has_run.end(), false);
  if (stuck != has_run.end())
    throw wrong(steps[static_cast<size_t>(stuck - has_run.begin())].label + " depends on its own outputs");
}

void Pipeline::Plan::set_outputs(const std::vector<std::string>& wanted) {
  for (const Slot& slot : slots)
    if (!slot.is_made) inputs.push_back(slot.spec);
  for (const std::string& output : wanted) {
    const auto found = places.find(output);
    if (found == places.end() || !slots[found->second].is_made)
      throw wrong("outputs: no step has an output '" + output + "'");
    if (find_spec(outputs, output)) throw wrong("outputs: '" + output + "' is there twice");
    outputs.push_back(slots[found->second].spec);
  }
  if (wanted.empty())
    for (const Slot& slot : slots)
      if (slot.is_made && !slot.is_used) outputs.push_back(slot.spec);
  if (outputs.empty()) throw wrong("it has no outputs: all outputs of its steps are inputs of others");
}

// One request. Steps end on threads of their models.
class Pipeline::Run : public std::enable_shared_from_this<Run> {
 public:
  Run(Plan* plan, const Request& request, Done done)
      : plan_(plan),
        id_(request.id),
        done_(std::move(done)),
        common_(request),
        tensors_(plan_->slots.size()),
        missing_(plan_->steps.size()) {
    common_.inputs.clear();
    common_.outputs.clear();
    if (!common_.deadline && plan_->timeout) common_.deadline = arrival_ + *plan_->timeout;
    for (const size_t output : ordered_outputs(request, plan_->outputs, kOwner))  // not each tensor is one
      wanted_.push_back(plan_->places.at(plan_->outputs[output].name));
    for (size_t i = 0; i < plan_->steps.size(); ++i) missing_[i] = plan_->steps[i].inputs.size();
    left_ = plan_->steps.size();
    std::vector<Tensor> inputs = ordered_inputs(request, plan_->inputs, kOwner);
    for (size_t i = 0; i < inputs.size(); ++i) tensors_[plan_->places.at(plan_->inputs[i].name)] = std::move(inputs[i]);
    plan_->begin_run();
  }
  ~Run() { plan_->end_run(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void start() {
    std::vector<size_t> ready;
    {
      const std::lock_guard lock(mutex_);
      for (const TensorSpec& spec : plan_->inputs) note(plan_->places.at(spec.name), ready);
      for (size_t i = 0; i < plan_->steps.size(); ++i)
        if (plan_->steps[i].inputs.empty()) ready.push_back(i);
    }
    for (const size_t step : ready) launch(step);
  }

 private:
  // With the mutex held: appends the steps that miss nothing now that a tensor is there.
  void note(size_t slot, std::vector<size_t>& ready) {
    for (const size_t user : plan_->slots[slot].users)
      if (--missing_[user] == 0) ready.push_back(user);
  }

  void launch(size_t index) {
    const Step& step = plan_->steps[index];
    Request request = common_;
    request.model = step.model;
    request.version = step.version;
    {
      const std::lock_guard lock(mutex_);
      if (!done_) return;  // another step failed
      for (const Port& input : step.inputs) request.inputs.push_back({input.name, *tensors_[input.slot]});
    }
    for (const Port& output : step.outputs) request.outputs.push_back({output.name});
    const auto self = shared_from_this();
    const auto ended = [self, index](Result result) { self->finish(index, std::move(result)); };
    try {
      plan_->models.find_step(step.model, step.version)->submit(request, ended);
    } catch (const Error& error) {
      ended({{}, error});
    } catch (const std::exception& error) {
      ended({{}, Error(ErrorKind::kInternal, error.what())});
    }
  }

  void finish(size_t index, Result result) {
    const Step& step = plan_->steps[index];
    std::vector<size_t> ready;
    Done done;
    {
      const std::lock_guard lock(mutex_);
      if (!done_) return;
      for (size_t i = 0; i < step.outputs.size() && !result.error; ++i) {
        const Tensor& tensor = result.response.outputs[i].tensor;
        TensorSpec spec = plan_->slots[step.outputs[i].slot].spec;
        const TensorSpec made{spec.name, tensor.type(), tensor.shape()};
        if (!narrow(spec, made))
          result.error = Error(ErrorKind::kFailedPrecondition,
                               "the tensor '" + spec.name + "' is " + text_of(made) + ", and was " + text_of(spec) +
                                   " when the pipeline was loaded; a change of its config.toml loads it again");
      }
      if (!result.error) {
        for (size_t i = 0; i < step.outputs.size(); ++i) {
          tensors_[step.outputs[i].slot] = std::move(result.response.outputs[i].tensor);
          note(step.outputs[i].slot, ready);
        }
        --left_;
      }
      if (result.error || left_ == 0) done = std::exchange(done_, nullptr);
    }
    for (const size_t next : ready) launch(next);
    if (!done) return;
    const auto time = Clock::now() - arrival_;
    Result whole{{plan_->name, kNumber, id_, {}}, std::nullopt};
    if (result.error) {
      plan_->counts.note_failure(result.error->kind(), time);
      whole.error = Error(result.error->kind(), step.label + ": " + result.error->what(), result.error->rejection());
    } else {
      plan_->counts.note_success(1, Clock::duration(0), time, time);
      for (const size_t slot : wanted_)
        whole.response.outputs.push_back({plan_->slots[slot].spec.name, *tensors_[slot]});
    }
    done(std::move(whole));
  }

  Plan* const plan_;
  const Clock::time_point arrival_ = Clock::now();
  const std::string id_;
  Done done_;       // null: it was called
  Request common_;  // what all steps have of the request
  std::vector<size_t> wanted_;
  std::mutex mutex_;
  std::vector<std::optional<Tensor>> tensors_;
  std::vector<size_t> missing_;  // inputs, by step
  size_t left_ = 0;              // steps
};

Pipeline::Pipeline(const std::string& name, const ModelConfig& config, const StepModels& models, Metrics& metrics)
    : plan_(std::make_unique<Plan>(name, metrics, models)) {
  plan_->timeout = config.timeout;
  for (size_t i = 0; i < config.steps.size(); ++i) plan_->add(i, config.steps[i]);
  plan_->check_order();
  plan_->set_outputs(config.outputs);
}

Pipeline::~Pipeline() {
  std::unique_lock lock(plan_->mutex);
  plan_->ended.wait(lock, [this] { return plan_->runs == 0; });
}

const std::vector<TensorSpec>& Pipeline::inputs() const { return plan_->inputs; }
const std::vector<TensorSpec>& Pipeline::outputs() const { return plan_->outputs; }
ModelStatistics Pipeline::statistics() const { return plan_->counts.statistics(); }

Health Pipeline::health() const {
  Health worst = Health::kReady;
  for (const Step& step : plan_->steps) try {
      worst = std::max(worst, plan_->models.find_step(step.model, step.version)->health());
    } catch (const Error&) {
      return Health::kFailed;
    }
  return worst;
}

void Pipeline::submit(const Request& request, Done done) {
  std::shared_ptr<Run> run;
  try {
    run = std::make_shared<Run>(plan_.get(), request, std::move(done));
  } catch (const Error& error) {
    plan_->counts.note_failure(error.kind(), Clock::duration(0));
    throw;
  }
  run->start();
}

}  // namespace loopwright::serving
