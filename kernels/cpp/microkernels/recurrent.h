// One step of a recurrent cell for one sequence, after the matrix products: gates, activations and the new state.
//
// Units are in blocks of `lanes` units, the lanes of a vector. Gates of a block are adjacent: gate g of unit u is at
//   [(u / lanes * gates + g) * lanes + u % lanes].
// Arrays are padded to whole blocks, and what the padding contains does not matter, except y, which has `units` floats.
#pragma once

#include <cstdint>

#include "loopwright/recurrent.h"

namespace loopwright {

struct RecurrentStep {
  int64_t blocks, units;
  const float* x;                     // x Wᵀ + b of all gates
  const float* product;               // h Rᵀ of the gates that the function takes
  const float* state;                 // h before the step
  float* next;                        // h after it; must not overlap `state`
  float* y;                           // the same, or null
  float* cell;                        // LSTM: c before and after the step. GRU: z, between its two halves
  const float* peepholes;             // LSTM: i, o and f of each block, or null
  const GateActivation* activations;  // f; f, g; f, g, h
  float clip;                         // infinity for none
  bool input_forget;
};

using RecurrentFunction = void (*)(const RecurrentStep&);

struct RecurrentFunctions {
  // product has all gates
  RecurrentFunction rnn = nullptr;   // h' = f(x + h R)
  RecurrentFunction lstm = nullptr;  // c' = f c + i g(.), h' = o h(c')
  RecurrentFunction gru = nullptr;   // linear_before_reset: h' = (1 - z) g(x_h + r (h R_h + b)) + z h
  // The halves of a GRU without it. The first takes the product of z and r, and stores r h to `next`. The second takes
  // (r h) R_h.
  RecurrentFunction gru_gates = nullptr;
  RecurrentFunction gru_candidate = nullptr;
};

// For functions that are not vectorized. In plain C++, so that files with ISA flags can call it.
float gate_activation(const GateActivation& activation, float x);

}  // namespace loopwright
