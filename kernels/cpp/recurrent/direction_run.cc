#include "recurrent/direction_run.h"

#include <algorithm>

#include "core/split.h"

namespace loopwright {
namespace {

// Returns the number of steps whose inputs are multiplied at a time: enough rows to use each weight often, few enough that
// the products stay in L2.
int64_t chunk_steps(const RecurrentArgs& args) {
  constexpr int64_t kRows = 96;
  return std::clamp<int64_t>(kRows / args.batch, 1, std::max<int64_t>(1, args.steps));
}

}  // namespace

RecurrentDirectionRun::RecurrentDirectionRun(const RecurrentLayout& layout, const RecurrentOptions& options,
                                             const RecurrentFunctions& functions, const RecurrentDirection& weights,
                                             int64_t index, const RecurrentArgs& args, float* memory)
    : layout_(layout),
      options_(options),
      functions_(functions),
      weights_(weights),
      args_(args),
      index_(index),
      chunk_(chunk_steps(args)),
      halves_(weights.candidate ? 2 : 1) {
  phases_ = ceil_div(args.steps, chunk_) + halves_ * args.steps;
  const auto take = [&](int64_t count, int64_t columns) {
    const Rows rows{memory, spread_stride(columns)};
    memory += count * rows.stride;
    return rows;
  };
  gates_ = take(chunk_ * args.batch, layout.columns());
  product_ = take(args.batch, layout.columns());
  for (Rows* rows : {&even_, &odd_, &cells_, &reset_}) *rows = take(args.batch, layout.padded());
}

int64_t RecurrentDirectionRun::floats(const RecurrentLayout& layout, const RecurrentArgs& args) {
  return args.batch * ((chunk_steps(args) + 1) * spread_stride(layout.columns()) + 4 * spread_stride(layout.padded()));
}

RecurrentDirectionRun::Units RecurrentDirectionRun::units_of(const RecurrentShare& share) const {
  if (share.part < 0) return {0, layout_.padded()};
  return {split_begin(layout_.blocks(), layout_.parts, share.part) * layout_.lanes,
          split_begin(layout_.blocks(), layout_.parts, share.part + 1) * layout_.lanes};
}

int64_t RecurrentDirectionRun::state_place(int64_t row) const {
  return (args_.batch_first ? row * layout_.directions + index_ : index_ * args_.batch + row) * layout_.units;
}

float* RecurrentDirectionRun::y_at(int64_t step, int64_t row) const {
  const int64_t place = args_.batch_first ? (row * args_.steps + step) * layout_.directions + index_
                                          : (step * layout_.directions + index_) * args_.batch + row;
  return args_.y + place * layout_.units;
}

void RecurrentDirectionRun::run(int64_t phase, const RecurrentShare& share) const {
  const int64_t of_chunk = 1 + halves_ * chunk_, chunk = phase / of_chunk, in_chunk = phase % of_chunk;
  if (in_chunk > 0)
    return run_half(chunk * chunk_ + (in_chunk - 1) / halves_, static_cast<int>((in_chunk - 1) % halves_), share);
  if (phase == 0) load_states(share);
  multiply_inputs(chunk, share);
}

void RecurrentDirectionRun::load_states(const RecurrentShare& share) const {
  const auto [begin, end] = units_of(share);
  const int64_t present = std::max(begin, std::min(end, layout_.units));
  const auto load = [&, begin = begin, end = end](const float* from, const Rows& to) {
    for (int64_t row = share.rows_begin; row < share.rows_end; ++row) {
      float* state = to.data + row * to.stride;
      std::fill(state + begin, state + end, 0.0f);
      if (!from) continue;
      const float* source = from + state_place(row);
      std::copy(source + begin, source + present, state + begin);
    }
  };
  load(args_.initial_h, even_);
  if (options_.cell == Cell::kLstm) load(args_.initial_c, cells_);
}

void RecurrentDirectionRun::finish() const {
  const auto store = [&](const Rows& from, float* to) {
    if (!to) return;
    for (int64_t row = 0; row < args_.batch; ++row) {
      const float* state = from.data + row * from.stride;
      float* place = to + state_place(row);
      if ((args_.lengths ? args_.lengths[row] : args_.steps) == 0) {
        std::fill(place, place + layout_.units, 0.0f);
      } else {
        std::copy(state, state + layout_.units, place);
      }
    }
  };
  store(state(args_.steps), args_.y_h);
  if (options_.cell == Cell::kLstm) store(cells_, args_.y_c);
}

// Of the reverse direction, the first chunk has the last steps.
void RecurrentDirectionRun::multiply_inputs(int64_t chunk, const RecurrentShare& share) const {
  const int64_t done = chunk * chunk_, count = std::min(chunk_, args_.steps - done);
  const int64_t first = weights_.reverse ? args_.steps - done - count : done;
  const int64_t of_step = args_.batch_first ? layout_.inputs : args_.batch * layout_.inputs;
  const int64_t of_row = args_.batch_first ? args_.steps * layout_.inputs : layout_.inputs;
  const int64_t rows = share.rows_end - share.rows_begin;
  const auto multiply = [&](int64_t step, int64_t row, int64_t tall, int64_t x_stride, int64_t gate_stride) {
    weights_.x.run({args_.x + (first + step) * of_step + row * of_row, x_stride}, tall, share.part,
                   {gates_.data + (step * args_.batch + row) * gates_.stride, gate_stride});
  };
  if (rows == args_.batch && of_step == args_.batch * of_row) {  // all rows are at equal distances
    multiply(0, 0, count * rows, of_row, gates_.stride);
  } else if (count >= rows) {
    for (int64_t row = share.rows_begin; row < share.rows_end; ++row)
      multiply(0, row, count, of_step, args_.batch * gates_.stride);
  } else {
    for (int64_t step = 0; step < count; ++step) multiply(step, share.rows_begin, rows, of_row, gates_.stride);
  }
}

void RecurrentDirectionRun::run_half(int64_t steps_done, int half, const RecurrentShare& share) const {
  const bool is_last = half + 1 == halves_;  // of the halves of this step
  const auto [begin, end] = units_of(share);
  const Rows before = state(steps_done), after = state(steps_done + 1);
  const Rows& factor = half == 0 ? before : reset_;
  const Rows& written = is_last ? after : reset_;
  const GateProduct& product = half == 0 ? weights_.h : *weights_.candidate;
  const int gates = halves_ == 1 ? layout_.gates : half == 0 ? 2 : 1;  // of the product
  const RecurrentFunction function = halves_ == 2 ? (half == 0 ? functions_.gru_gates : functions_.gru_candidate)
                                     : options_.cell == Cell::kRnn ? functions_.rnn
                                     : options_.cell == Cell::kGru ? functions_.gru
                                                                   : functions_.lstm;
  const int64_t first_row = share.rows_begin;
  const int64_t rows = share.rows_end - first_row;
  const Rows out{product_.data + first_row * product_.stride, product_.stride};
  const bool is_zero = steps_done == 0 && !args_.initial_h;  // the state, and what a gate makes of it
  if (!is_zero || !product.run_on_zeros(rows, share.part, out))
    product.run({factor.data + first_row * factor.stride, factor.stride}, rows, share.part, out, steps_done % 2 == 1);

  const int64_t step = weights_.reverse ? args_.steps - 1 - steps_done : steps_done;
  const int64_t chunk = steps_done / chunk_ * chunk_, of_chunk = std::min(chunk_, args_.steps - chunk);
  const int64_t in_chunk = weights_.reverse ? of_chunk - 1 - (steps_done - chunk) : steps_done - chunk;
  RecurrentStep s{};
  s.blocks = (end - begin) / layout_.lanes;
  s.units = std::max<int64_t>(0, std::min(layout_.units, end) - begin);
  s.activations = weights_.activations.data();
  s.clip = options_.clip;
  s.input_forget = options_.input_forget;
  if (weights_.peepholes) s.peepholes = weights_.peepholes.get() + 3 * begin;
  for (int64_t row = first_row; row < share.rows_end; ++row) {
    s.state = before.data + row * before.stride + begin;
    s.next = written.data + row * written.stride + begin;
    s.y = is_last && args_.y ? y_at(step, row) + begin : nullptr;
    if (args_.lengths && step >= args_.lengths[row]) {  // the sequence has no such step
      std::copy(s.state, s.state + (end - begin), s.next);
      if (s.y) std::fill(s.y, s.y + s.units, 0.0f);
      continue;
    }
    s.x = gates_.data + (in_chunk * args_.batch + row) * gates_.stride + layout_.gates * begin;
    s.product = product_.data + row * product_.stride + gates * begin;
    s.cell = cells_.data + row * cells_.stride + begin;
    function(s);
  }
}

}  // namespace loopwright
