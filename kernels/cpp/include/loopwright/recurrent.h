// Recurrent layers: RNN, GRU and LSTM, as ONNX defines them.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "loopwright/machine_model.h"

namespace loopwright {

// The cells, with their gates in ONNX's order (u: units):
//   kRnn   h
//   kGru   z, r, h   (Cho et al.: Learning Phrase Representations using RNN Encoder-Decoder, 2014)
//   kLstm  i, o, f, c   (Hochreiter and Schmidhuber: Long Short-Term Memory, 1997)
enum class Cell { kRnn, kGru, kLstm };

// Throws std::invalid_argument for an unknown name: rnn, gru, lstm.
Cell parse_cell(const std::string& name);

constexpr int gates_of(Cell cell) { return cell == Cell::kRnn ? 1 : cell == Cell::kGru ? 3 : 4; }
// The number of activation functions: f; f, g; f, g, h.
constexpr int activations_of(Cell cell) { return gates_of(cell) == 1 ? 1 : gates_of(cell) - 1; }

enum class GateFunction {
  kSigmoid,
  kTanh,
  kRelu,
  kAffine,           // alpha x + beta
  kLeakyRelu,        // x, or alpha x if x < 0
  kThresholdedRelu,  // x, or 0 unless x > alpha
  kScaledTanh,       // alpha tanh(beta x)
  kHardSigmoid,      // alpha x + beta, between 0 and 1
  kElu,              // x, or alpha (e^x - 1) if x < 0
  kSoftsign,         // x / (1 + |x|)
  kSoftplus,         // log(1 + e^x)
};

struct GateActivation {
  GateFunction function;
  float alpha = 0.0f, beta = 0.0f;
};

// Throws std::invalid_argument for an unknown name: sigmoid, tanh, relu, affine, leaky_relu, thresholded_relu, scaled_tanh,
// hard_sigmoid, elu, softsign, softplus.
GateFunction parse_gate_function(const std::string& name);

struct RecurrentOptions {
  Cell cell;
  std::vector<bool> reverse;                            // for each direction, one or two
  std::vector<GateActivation> activations;              // activations_of(cell) for each direction
  float clip = std::numeric_limits<float>::infinity();  // arguments of activations of gates are limited to -clip..clip
  bool input_forget = false;                            // LSTM: f = 1 - i
  bool linear_before_reset = false;                     // GRU: the reset gate multiplies h Rᵀ + b instead of h
};

// For each direction: w (gates × units, inputs), r (gates × units, units), b (2 × gates × units: of w, of r) or null, p (3 ×
// units: i, o, f; LSTM only) or null.
struct RecurrentWeights {
  const float *w, *r, *b = nullptr, *p = nullptr;
};

// Tensors of one run, without gaps. Absent ones are null; absent initial states are zeros.
//   x                     (steps, batch, inputs)               batch_first: (batch, steps, inputs)
//   y                     (steps, directions, batch, units)    batch_first: (batch, steps, directions, units)
//   initial_h/c, y_h/c    (directions, batch, units)           batch_first: (batch, directions, units)
//   lengths               (batch), the number of steps of each sequence. Steps after them are zeros in y, and so are all
//                         outputs of a sequence without steps, as in ONNX Runtime.
struct RecurrentArgs {
  int64_t steps, batch;
  bool batch_first;
  const float* x;
  const int32_t* lengths = nullptr;
  const float *initial_h = nullptr, *initial_c = nullptr;
  float *y = nullptr, *y_h = nullptr, *y_c = nullptr;
};

class Recurrent {
 public:
  // Copies the weights. Throws std::invalid_argument if the options contradict each other.
  Recurrent(const RecurrentOptions& options, const RecurrentWeights& weights, int64_t inputs, int64_t units,
            Target target, int threads);
  Recurrent(Recurrent&&) noexcept;
  ~Recurrent();

  // Outputs must not overlap inputs. Uses up to `threads` threads of the pool. Thread-safe. Throws std::invalid_argument if
  // a length is not between 0 and the number of steps.
  void run(const RecurrentArgs& args) const;

  Cell cell() const;
  int64_t directions() const;
  int64_t inputs() const;
  int64_t units() const;

 private:
  class Implementation;
  std::unique_ptr<const Implementation> implementation_;
};

}  // namespace loopwright
