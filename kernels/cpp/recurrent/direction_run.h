// One direction of a recurrent layer during a run.
#pragma once

#include <cstdint>

#include "loopwright/recurrent.h"
#include "microkernels/recurrent.h"
#include "recurrent/direction.h"

namespace loopwright {

// Some sequences, and one part of the units or, with -1, all of them.
struct RecurrentShare {
  int64_t rows_begin, rows_end;
  int part;
};

// A run consists of phases, in which shares are independent. The first phase of each chunk of steps multiplies the inputs of
// these steps; then each step is one phase, or two for a GRU that resets first. A phase needs the phases before it: all
// shares of the same sequences.
class RecurrentDirectionRun {
 public:
  // `memory` has floats() floats.
  RecurrentDirectionRun(const RecurrentLayout& layout, const RecurrentOptions& options,
                        const RecurrentFunctions& functions, const RecurrentDirection& weights, int64_t index,
                        const RecurrentArgs& args, float* memory);

  static int64_t floats(const RecurrentLayout& layout, const RecurrentArgs& args);

  int64_t phases() const { return phases_; }
  void run(int64_t phase, const RecurrentShare& share) const;
  // Stores the last states, after the last phase.
  void finish() const;

 private:
  using Rows = GateProduct::Rows<float>;

  // Where the units of a share begin and end.
  struct Units {
    int64_t begin, end;
  };
  Units units_of(const RecurrentShare& share) const;
  // h after a number of steps.
  Rows state(int64_t steps) const { return steps % 2 == 0 ? even_ : odd_; }

  void load_states(const RecurrentShare& share) const;
  void multiply_inputs(int64_t chunk, const RecurrentShare& share) const;
  void run_half(int64_t steps_done, int half, const RecurrentShare& share) const;
  // The place of a sequence in initial and last states, and in y.
  int64_t state_place(int64_t row) const;
  float* y_at(int64_t step, int64_t row) const;

  const RecurrentLayout& layout_;
  const RecurrentOptions& options_;
  const RecurrentFunctions& functions_;
  const RecurrentDirection& weights_;
  const RecurrentArgs& args_;
  int64_t index_, chunk_, phases_;
  int halves_;
  // Rows are those of the batch, except in gates_: step in the chunk × batch + sequence.
  Rows gates_, product_, even_, odd_;
  Rows cells_, reset_;  // c, or z of a GRU; r h of a GRU
};

}  // namespace loopwright
