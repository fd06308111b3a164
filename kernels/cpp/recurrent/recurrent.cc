#include "loopwright/recurrent.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "core/buffer.h"
#include "core/phases.h"
#include "core/split.h"
#include "loopwright/thread_pool.h"
#include "microkernels/kernel_table.h"
#include "recurrent/direction.h"
#include "recurrent/direction_run.h"
#include "recurrent/plan.h"

namespace loopwright {
namespace {

void check(const RecurrentOptions& options, const RecurrentWeights& weights, int64_t inputs, int64_t units) {
  const size_t directions = options.reverse.size();
  if (directions < 1 || directions > 2) throw std::invalid_argument("there must be one or two directions");
  if (options.activations.size() != directions * static_cast<size_t>(activations_of(options.cell)))
    throw std::invalid_argument("there must be " + std::to_string(activations_of(options.cell)) +
                                " activations for each direction");
  if (inputs < 0 || units < 1) throw std::invalid_argument("there must be at least one unit");
  if (!(options.clip > 0.0f)) throw std::invalid_argument("clip must be positive");
  if (options.cell != Cell::kLstm && (options.input_forget || weights.p))
    throw std::invalid_argument("input_forget and peepholes are for lstm only");
  if (options.cell != Cell::kGru && options.linear_before_reset)
    throw std::invalid_argument("linear_before_reset is for gru only");
}

void check_lengths(const RecurrentArgs& args) {
  if (!args.lengths) return;
  for (int64_t i = 0; i < args.batch; ++i)
    if (args.lengths[i] < 0 || args.lengths[i] > args.steps)
      throw std::invalid_argument("the length of sequence " + std::to_string(i) + " is " +
                                  std::to_string(args.lengths[i]) + "; it must be between 0 and the " +
                                  std::to_string(args.steps) + " steps");
}

}  // namespace

Cell parse_cell(const std::string& name) {
  if (name == "rnn") return Cell::kRnn;
  if (name == "gru") return Cell::kGru;
  if (name == "lstm") return Cell::kLstm;
  throw std::invalid_argument("unknown cell '" + name + "'; choose from: rnn, gru, lstm");
}

GateFunction parse_gate_function(const std::string& name) {
  constexpr const char* kNames[] = {"sigmoid",     "tanh",         "relu", "affine",   "leaky_relu", "thresholded_relu",
                                    "scaled_tanh", "hard_sigmoid", "elu",  "softsign", "softplus"};  // as in the enum
  std::string known;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<GateFunction>(i);
    known += (i == 0 ? "" : ", ") + std::string(kNames[i]);
  }
  throw std::invalid_argument("unknown activation '" + name + "'; choose from: " + known);
}

class Recurrent::Implementation {
 public:
  Implementation(const RecurrentOptions& options, const RecurrentWeights& weights, int64_t inputs, int64_t units,
                 Target target, int threads)
      : options_(options), target_(std::move(target)), threads_(threads), functions_(kernel_table(target_).recurrent) {
    check(options, weights, inputs, units);
    const auto directions = static_cast<int>(options.reverse.size());
    layout_ = {directions,
               inputs,
               units,
               gates_of(options.cell),
               kernel_table(target_).lanes,
               std::max(1, threads / directions)};
    for (int64_t d = 0; d < directions; ++d) directions_.emplace_back(options, weights, layout_, d, target_);
  }

  void run(const RecurrentArgs& args) const {
    check_lengths(args);
    if (args.batch == 0) return;
    const int64_t floats = RecurrentDirectionRun::floats(layout_, args);
    float* memory = scratch(layout_.directions * floats);
    std::vector<RecurrentDirectionRun> runs;
    for (int64_t d = 0; d < layout_.directions; ++d)
      runs.emplace_back(layout_, options_, functions_, directions_[static_cast<size_t>(d)], d, args,
                        memory + d * floats);
    const RecurrentPlan plan = plan_recurrence({args.steps, args.batch, layout_.directions, layout_.columns(),
                                                layout_.inputs, layout_.units, directions_.front().candidate ? 2 : 1},
                                               target_, threads_);
    const bool shared =
        plan.threads > 1 && (plan.by_units && layout_.parts > 1 ? run_by_units(args, runs) : run_by_rows(args, runs));
    for (const RecurrentDirectionRun& run : runs) {
      if (!shared) run_all(run, {0, args.batch, -1});
      run.finish();
    }
  }

  Cell cell() const { return options_.cell; }
  const RecurrentLayout& layout() const { return layout_; }

 private:
  static void run_all(const RecurrentDirectionRun& run, const RecurrentShare& share) {
    for (int64_t phase = 0; phase < run.phases(); ++phase) run.run(phase, share);
  }

  // Both return false without running anything if the pool is serving another caller. Threads of one direction are neighbors.
  bool run_by_rows(const RecurrentArgs& args, const std::vector<RecurrentDirectionRun>& runs) const {
    const int parts = layout_.parts;
    auto body = [&](int thread) {
      const int part = thread % parts;
      const int64_t begin = split_begin(args.batch, parts, part), end = split_begin(args.batch, parts, part + 1);
      if (begin < end) run_all(runs[static_cast<size_t>(thread / parts)], {begin, end, -1});
    };
    return try_run_on_pool(parts * static_cast<int>(layout_.directions), ThreadBody(body));
  }

  bool run_by_units(const RecurrentArgs& args, const std::vector<RecurrentDirectionRun>& runs) const {
    const int parts = layout_.parts;
    std::vector<std::unique_ptr<Phases>> phases;
    for (const RecurrentDirectionRun& run : runs) phases.push_back(std::make_unique<Phases>(run.phases(), parts));
    auto body = [&](int thread) {
      const auto d = static_cast<size_t>(thread / parts);
      phases[d]->work(thread % parts, [&](int64_t phase, int part) { runs[d].run(phase, {0, args.batch, part}); });
    };
    return try_run_on_pool(parts * static_cast<int>(layout_.directions), ThreadBody(body));
  }

  RecurrentOptions options_;
  Target target_;
  int threads_;
  RecurrentFunctions functions_;
  RecurrentLayout layout_{};
  std::vector<RecurrentDirection> directions_;
};

Recurrent::Recurrent(const RecurrentOptions& options, const RecurrentWeights& weights, int64_t inputs, int64_t units,
                     Target target, int threads)
    : implementation_(
          std::make_unique<const Implementation>(options, weights, inputs, units, std::move(target), threads)) {}

Recurrent::Recurrent(Recurrent&&) noexcept = default;
Recurrent::~Recurrent() = default;

void Recurrent::run(const RecurrentArgs& args) const { implementation_->run(args); }
Cell Recurrent::cell() const { return implementation_->cell(); }
int64_t Recurrent::directions() const { return implementation_->layout().directions; }
int64_t Recurrent::inputs() const { return implementation_->layout().inputs; }
int64_t Recurrent::units() const { return implementation_->layout().units; }

}  // namespace loopwright
