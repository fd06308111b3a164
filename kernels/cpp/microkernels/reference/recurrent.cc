// Steps of recurrent cells for blocks of one unit, and the activations that are not vectorized.
#include "microkernels/recurrent.h"

#include <algorithm>
#include <cmath>

#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

float gate(const RecurrentStep& step, int index, float x) {
  x = x < -step.clip ? -step.clip : x > step.clip ? step.clip : x;  // NaN passes through
  return gate_activation(step.activations[index], x);
}

void store(const RecurrentStep& step, int64_t unit, float h) {
  step.next[unit] = h;
  if (step.y) step.y[unit] = h;
}

void rnn(const RecurrentStep& step) {
  for (int64_t u = 0; u < step.units; ++u) store(step, u, gate(step, 0, step.x[u] + step.product[u]));
}

void lstm(const RecurrentStep& step) {
  for (int64_t u = 0; u < step.units; ++u) {
    const float *x = step.x + 4 * u, *product = step.product + 4 * u;
    const float* p = step.peepholes ? step.peepholes + 3 * u : nullptr;
    float& c = step.cell[u];
    const float i = gate(step, 0, x[0] + product[0] + (p ? p[0] * c : 0.0f));
    const float f = step.input_forget ? 1.0f - i : gate(step, 0, x[2] + product[2] + (p ? p[2] * c : 0.0f));
    c = f * c + i * gate(step, 1, x[3] + product[3]);
    const float o = gate(step, 0, x[1] + product[1] + (p ? p[1] * c : 0.0f));
    store(step, u, o * gate_activation(step.activations[2], c));
  }
}

void gru(const RecurrentStep& step) {
  for (int64_t u = 0; u < step.units; ++u) {
    const float *x = step.x + 3 * u, *product = step.product + 3 * u;
    const float z = gate(step, 0, x[0] + product[0]), r = gate(step, 0, x[1] + product[1]);
    const float candidate = gate(step, 1, x[2] + r * product[2]);
    store(step, u, (1.0f - z) * candidate + z * step.state[u]);
  }
}

void gru_gates(const RecurrentStep& step) {
  for (int64_t u = 0; u < step.units; ++u) {
    const float *x = step.x + 3 * u, *product = step.product + 2 * u;
    step.cell[u] = gate(step, 0, x[0] + product[0]);
    step.next[u] = gate(step, 0, x[1] + product[1]) * step.state[u];
  }
}

void gru_candidate(const RecurrentStep& step) {
  for (int64_t u = 0; u < step.units; ++u) {
    const float candidate = gate(step, 1, step.x[3 * u + 2] + step.product[u]), z = step.cell[u];
    store(step, u, (1.0f - z) * candidate + z * step.state[u]);
  }
}

}  // namespace

float gate_activation(const GateActivation& activation, float x) {
  const float alpha = activation.alpha, beta = activation.beta;
  switch (activation.function) {
    case GateFunction::kSigmoid: return reference_activation(Activation::kSigmoid, x);
    case GateFunction::kTanh: return std::tanh(x);
    case GateFunction::kRelu: return x < 0.0f ? 0.0f : x;
    case GateFunction::kAffine: return alpha * x + beta;
    case GateFunction::kLeakyRelu: return x < 0.0f ? alpha * x : x;
    case GateFunction::kThresholdedRelu: return x <= alpha ? 0.0f : x;
    case GateFunction::kScaledTanh: return alpha * std::tanh(beta * x);
    case GateFunction::kHardSigmoid: {
      const float y = alpha * x + beta;
      return y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y;
    }
    case GateFunction::kElu: return x < 0.0f ? alpha * std::expm1(x) : x;
    case GateFunction::kSoftsign: return x / (1.0f + std::abs(x));
    case GateFunction::kSoftplus: return std::max(x, 0.0f) + std::log1p(std::exp(-std::abs(x)));
  }
  return x;
}

RecurrentFunctions reference_recurrent_functions() { return {&rnn, &lstm, &gru, &gru_gates, &gru_candidate}; }

}  // namespace loopwright
