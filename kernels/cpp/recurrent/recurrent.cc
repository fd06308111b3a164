#include "loopwright/recurrent.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

#include "core/buffer.h"
#include "core/split.h"
#include "loopwright/thread_pool.h"
#include "microkernels/kernel_table.h"
#include "microkernels/recurrent.h"
#include "recurrent/gate_product.h"
#include "recurrent/plan.h"

namespace loopwright {
namespace {

using InRows = GateProduct::Rows<const float>;
using OutRows = GateProduct::Rows<float>;

// The weights of one direction.
struct Direction {
  bool reverse;
  GateProduct x;                         // all gates
  GateProduct h;                         // all gates; of a GRU that resets first, z and r
  std::optional<GateProduct> candidate;  // its third gate
  Buffer peepholes;                      // in blocks of i, o, f; or null
  std::vector<GateActivation> activations;
};

void check(const RecurrentOptions& options, const RecurrentWeights& weights, int64_t inputs, int64_t units) {
  const size_t directions = options.reverse.size();
  if (directions < 1 || directions > 2) throw std::invalid_argument("there must be one or two directions");
  if (options.activations.size() != directions * static_cast<size_t>(activations_of(options.cell)))
    throw std::invalid_argument("there must be " + std::to_string(activations_of(options.cell)) +
                                " activations for each direction");
  if (inputs < 0 || units < 1) throw std::invalid_argument("there must be at least one unit");
  if (!(options.clip > 0.0f)) throw std::invalid_argument("clip must be positive");
  const bool lstm = options.cell == Cell::kLstm;
  if (!lstm && (options.input_forget || weights.p))
    throw std::invalid_argument("input_forget and peepholes are for lstm only");
  if (options.linear_before_reset && options.cell != Cell::kGru)
    throw std::invalid_argument("linear_before_reset is for gru only");
}

// Returns the bias of the product with w: both biases, which are added anyway, except that of a gate which r resets.
std::vector<float> input_bias(const float* b, int gates, int64_t units, bool separate_candidate) {
  std::vector<float> bias(b, b + gates * units);
  const int64_t joined = (separate_candidate ? gates - 1 : gates) * units;
  for (int64_t i = 0; i < joined; ++i) bias[static_cast<size_t>(i)] += b[gates * units + i];
  return bias;
}

Direction make_direction(const RecurrentOptions& options, const RecurrentWeights& all, int64_t inputs, int64_t units,
                         Isa isa, int parts, int64_t d) {
  const int gates = gates_of(options.cell), lanes = kernel_table(isa).lanes;
  const int64_t rows = gates * units;
  const float *w = all.w + d * rows * inputs, *r = all.r + d * rows * units;
  const float* b = all.b ? all.b + d * 2 * rows : nullptr;
  const bool linear = options.linear_before_reset;
  const bool resets_first = options.cell == Cell::kGru && !linear;
  std::vector<float> x_bias, h_bias;
  if (b) {
    x_bias = input_bias(b, gates, units, linear);
    if (linear) {
      h_bias.assign(static_cast<size_t>(rows), 0.0f);
      std::copy(b + rows + 2 * units, b + 2 * rows, h_bias.begin() + 2 * units);
    }
  }
  const auto data = [](const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); };
  Direction direction{options.reverse[static_cast<size_t>(d)],
                      GateProduct(w, data(x_bias), gates, units, inputs, isa, parts),
                      GateProduct(r, data(h_bias), resets_first ? gates - 1 : gates, units, units, isa, parts),
                      std::nullopt,
                      nullptr,
                      {}};
  if (resets_first) direction.candidate.emplace(r + 2 * units * units, nullptr, 1, units, units, isa, parts);
  if (all.p) {
    direction.peepholes = make_weight_buffer(3 * ceil_div(units, lanes) * lanes);
    for (int64_t i = 0; i < 3 * units; ++i) {
      const int64_t u = i % units;
      direction.peepholes[(u / lanes * 3 + i / units) * lanes + u % lanes] = all.p[d * 3 * units + i];
    }
  }
  const int count = activations_of(options.cell);
  const auto first = options.activations.begin() + d * count;
  direction.activations.assign(first, first + count);
  return direction;
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
                 Isa isa, int threads)
      : options_(options),
        inputs_(inputs),
        units_(units),
        lanes_(kernel_table(isa).lanes),
        padded_(ceil_div(units, lanes_) * lanes_),
        columns_(padded_ * gates_of(options.cell)),
        isa_(isa),
        threads_(threads),
        parts_(1),
        step_(kernel_table(isa).recurrent) {
    const auto count = static_cast<int>(options.reverse.size());
    parts_ = std::max(1, threads / count);
    for (int d = 0; d < count; ++d)
      directions_.push_back(make_direction(options, weights, inputs, units, isa, parts_, d));
  }

  void run(const RecurrentArgs& args) const;

  Cell cell() const { return options_.cell; }
  int64_t directions() const { return static_cast<int64_t>(directions_.size()); }
  int64_t inputs() const { return inputs_; }
  int64_t units() const { return units_; }

 private:
  // The memory of one direction during a run. Rows are those of the batch.
  struct Memory {
    OutRows gates;         // x Wᵀ + b of a chunk of steps, row step * batch + sequence
    OutRows product;       // h Rᵀ
    OutRows states[2];     // h before and after a step
    OutRows cells, reset;  // c, or z of a GRU; r h of a GRU
    SpinBarrier* barrier;
  };

  // What a thread computes of one direction: some sequences, and one part of the units or, with -1, all.
  struct Share {
    int64_t rows_begin, rows_end;
    int part;
  };

  int64_t chunk_steps(const RecurrentArgs& args) const;
  void run_share(const RecurrentArgs& args, int64_t d, const Memory& memory, const Share& share) const;
  void multiply_inputs(const RecurrentArgs& args, const Direction& direction, const Memory& memory, const Share& share,
                       int64_t first, int64_t count) const;
  void load(const RecurrentArgs& args, int64_t d, const float* from, OutRows to, int64_t row, int64_t begin,
            int64_t end) const;
  void store(const RecurrentArgs& args, int64_t d, OutRows from, float* to, int64_t row, int64_t begin,
             int64_t end) const;
  // The place of a sequence in initial and final states.
  int64_t state_place(const RecurrentArgs& args, int64_t d, int64_t row) const {
    return (args.batch_first ? row * directions() + d : d * args.batch + row) * units_;
  }
  float* y_at(const RecurrentArgs& args, int64_t d, int64_t step, int64_t row) const {
    const int64_t place =
        args.batch_first ? (row * args.steps + step) * directions() + d : (step * directions() + d) * args.batch + row;
    return args.y + place * units_;
  }

  RecurrentOptions options_;
  int64_t inputs_, units_;
  int lanes_;
  int64_t padded_, columns_;
  Isa isa_;
  int threads_, parts_;
  RecurrentFunctions step_;
  std::vector<Direction> directions_;
};

// Returns the number of steps whose inputs are multiplied at a time: enough rows to use each weight often, few enough that
// the products stay in L2.
int64_t Recurrent::Implementation::chunk_steps(const RecurrentArgs& args) const {
  constexpr int64_t kRows = 96;
  return std::clamp<int64_t>(kRows / args.batch, 1, std::max<int64_t>(1, args.steps));
}

void Recurrent::Implementation::run(const RecurrentArgs& args) const {
  if (args.lengths)
    for (int64_t i = 0; i < args.batch; ++i)
      if (args.lengths[i] < 0 || args.lengths[i] > args.steps)
        throw std::invalid_argument("the length of sequence " + std::to_string(i) + " is " +
                                    std::to_string(args.lengths[i]) + "; it must be between 0 and the " +
                                    std::to_string(args.steps) + " steps");
  if (args.batch == 0) return;
  const int64_t rows = chunk_steps(args) * args.batch;
  const int64_t gate_stride = spread_stride(columns_), state_stride = spread_stride(padded_);
  const int64_t of_direction = rows * gate_stride + args.batch * (gate_stride + 4 * state_stride);
  float* memory = scratch(directions() * of_direction);
  SpinBarrier barriers[2];
  const auto memory_of = [&](int64_t d) {
    float* next = memory + d * of_direction;
    const auto take = [&](int64_t count, int64_t stride) {
      OutRows taken{next, stride};
      next += count * stride;
      return taken;
    };
    Memory m;
    m.gates = take(rows, gate_stride);
    m.product = take(args.batch, gate_stride);
    for (OutRows* states : {&m.states[0], &m.states[1], &m.cells, &m.reset}) *states = take(args.batch, state_stride);
    m.barrier = &barriers[d];
    return m;
  };
  const auto alone = [&] {
    for (int64_t d = 0; d < directions(); ++d) run_share(args, d, memory_of(d), {0, args.batch, -1});
  };
  const int barriers_of_step = directions_.front().candidate ? 2 : 1;
  const RecurrentPlan plan = plan_recurrence(
      {args.steps, args.batch, directions(), columns_, inputs_, units_, barriers_of_step}, isa_, threads_);
  if (plan.threads == 1) return alone();
  auto body = [&](int thread) {
    const int part = thread % parts_;
    Share share{0, args.batch, part};
    if (!plan.by_units) share = {split_begin(args.batch, parts_, part), split_begin(args.batch, parts_, part + 1), -1};
    run_share(args, thread / parts_, memory_of(thread / parts_), share);
  };
  if (!try_run_on_pool(plan.threads, ThreadBody(body))) alone();
}

// Multiplies the inputs of `count` steps from `first` on with the weights.
void Recurrent::Implementation::multiply_inputs(const RecurrentArgs& args, const Direction& direction,
                                                const Memory& memory, const Share& share, int64_t first,
                                                int64_t count) const {
  const int64_t of_step = args.batch_first ? inputs_ : args.batch * inputs_;
  const int64_t of_row = args.batch_first ? args.steps * inputs_ : inputs_;
  const int64_t rows = share.rows_end - share.rows_begin, stride = memory.gates.stride;
  const auto multiply = [&](int64_t step, int64_t row, int64_t a_stride, int64_t tall, int64_t c_stride) {
    direction.x.run({args.x + (first + step) * of_step + row * of_row, a_stride}, tall, share.part,
                    {memory.gates.data + (step * args.batch + row) * stride, c_stride});
  };
  if (rows == args.batch && of_step == args.batch * of_row) {
    multiply(0, 0, inputs_, count * rows, stride);  // all rows are at equal distances
  } else if (count >= rows) {
    for (int64_t row = share.rows_begin; row < share.rows_end; ++row)
      multiply(0, row, of_step, count, args.batch * stride);
  } else {
    for (int64_t step = 0; step < count; ++step) multiply(step, share.rows_begin, of_row, rows, stride);
  }
}

// Loads units `begin` to `end` of an initial state, with zeros for the padding.
void Recurrent::Implementation::load(const RecurrentArgs& args, int64_t d, const float* from, OutRows to, int64_t row,
                                     int64_t begin, int64_t end) const {
  float* state = to.data + row * to.stride;
  std::fill(state + begin, state + std::min(end, padded_), 0.0f);
  if (from) {
    const float* source = from + state_place(args, d, row);
    std::copy(source + begin, source + std::min(end, units_), state + begin);
  }
}

void Recurrent::Implementation::store(const RecurrentArgs& args, int64_t d, OutRows from, float* to, int64_t row,
                                      int64_t begin, int64_t end) const {
  if (!to) return;
  const float* state = from.data + row * from.stride;
  std::copy(state + begin, state + std::min(end, units_), to + state_place(args, d, row) + begin);
}

void Recurrent::Implementation::run_share(const RecurrentArgs& args, int64_t d, const Memory& memory,
                                          const Share& share) const {
  const Direction& direction = directions_[static_cast<size_t>(d)];
  const int gates = gates_of(options_.cell);
  const int64_t blocks = padded_ / lanes_;
  const int64_t first_block = share.part < 0 ? 0 : split_begin(blocks, parts_, share.part);
  const int64_t last_block = share.part < 0 ? blocks : split_begin(blocks, parts_, share.part + 1);
  const int64_t unit = first_block * lanes_, end = last_block * lanes_;
  const int64_t rows_begin = share.rows_begin, rows = share.rows_end - rows_begin;
  const bool has_cells = options_.cell == Cell::kLstm;
  const auto meet = [&] {
    if (share.part >= 0 && parts_ > 1) memory.barrier->wait(parts_);
  };
  const auto from = [&](OutRows all) { return InRows{all.data + rows_begin * all.stride, all.stride}; };
  const auto to = [&](OutRows all) { return OutRows{all.data + rows_begin * all.stride, all.stride}; };

  OutRows state = memory.states[0], next = memory.states[1];
  for (int64_t row = rows_begin; row < share.rows_end; ++row) {
    load(args, d, args.initial_h, state, row, unit, end);
    if (has_cells) load(args, d, args.initial_c, memory.cells, row, unit, end);
  }
  meet();

  RecurrentStep step{};
  step.blocks = last_block - first_block;
  step.units = std::max<int64_t>(0, std::min(units_, end) - unit);
  step.activations = direction.activations.data();
  step.clip = options_.clip;
  step.input_forget = options_.input_forget;
  if (direction.peepholes) step.peepholes = direction.peepholes.get() + 3 * unit;
  // Runs a function on all sequences that have a step t. The others keep their state. `gates_taken` is the number of gates in
  // the product.
  const auto run_rows = [&](RecurrentFunction function, int gates_taken, int64_t t, int64_t gate_row, OutRows written,
                            bool is_last) {
    for (int64_t row = rows_begin; row < share.rows_end; ++row) {
      step.state = state.data + row * state.stride + unit;
      step.next = written.data + row * written.stride + unit;
      step.y = is_last && args.y ? y_at(args, d, t, row) + unit : nullptr;
      if (args.lengths && t >= args.lengths[row]) {
        std::copy(step.state, step.state + step.blocks * lanes_, step.next);
        if (step.y) std::fill(step.y, step.y + step.units, 0.0f);
        continue;
      }
      step.x = memory.gates.data + (gate_row + row) * memory.gates.stride + gates * unit;
      step.product = memory.product.data + row * memory.product.stride + gates_taken * unit;
      step.cell = memory.cells.data + row * memory.cells.stride + unit;
      function(step);
    }
  };
  const RecurrentFunction whole = options_.cell == Cell::kRnn   ? step_.rnn
                                  : options_.cell == Cell::kGru ? step_.gru
                                                                : step_.lstm;
  const int64_t chunk = chunk_steps(args);
  bool backwards = false;
  for (int64_t done = 0; done < args.steps; done += chunk) {
    const int64_t count = std::min(chunk, args.steps - done);
    const int64_t first = direction.reverse ? args.steps - done - count : done;
    multiply_inputs(args, direction, memory, share, first, count);
    for (int64_t i = 0; i < count; ++i, backwards = !backwards) {
      const int64_t in_chunk = direction.reverse ? count - 1 - i : i, t = first + in_chunk;
      direction.h.run(from(state), rows, share.part, to(memory.product), backwards);
      if (direction.candidate) {
        run_rows(step_.gru_gates, gates - 1, t, in_chunk * args.batch, memory.reset, false);
        meet();
        direction.candidate->run(from(memory.reset), rows, share.part, to(memory.product), backwards);
        run_rows(step_.gru_candidate, 1, t, in_chunk * args.batch, next, true);
      } else {
        run_rows(whole, gates, t, in_chunk * args.batch, next, true);
      }
      std::swap(state, next);
      meet();
    }
  }
  for (int64_t row = rows_begin; row < share.rows_end; ++row) {
    store(args, d, state, args.y_h, row, unit, end);
    if (has_cells) store(args, d, memory.cells, args.y_c, row, unit, end);
  }
}

Recurrent::Recurrent(const RecurrentOptions& options, const RecurrentWeights& weights, int64_t inputs, int64_t units,
                     Isa isa, int threads) {
  check(options, weights, inputs, units);
  implementation_ = std::make_unique<const Implementation>(options, weights, inputs, units, isa, threads);
}

Recurrent::Recurrent(Recurrent&&) noexcept = default;
Recurrent::~Recurrent() = default;

void Recurrent::run(const RecurrentArgs& args) const { implementation_->run(args); }
Cell Recurrent::cell() const { return implementation_->cell(); }
int64_t Recurrent::directions() const { return implementation_->directions(); }
int64_t Recurrent::inputs() const { return implementation_->inputs(); }
int64_t Recurrent::units() const { return implementation_->units(); }

}  // namespace loopwright
