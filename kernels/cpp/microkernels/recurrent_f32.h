// Steps of recurrent cells (contract: recurrent.h), templated over the vector type V.
#pragma once

#include "microkernels/activations_f32.h"
#include "microkernels/recurrent.h"

namespace loopwright {
namespace {

// The activations of most models are sigmoid and tanh. kUsual leaves the others out of the loop.
template <class V, bool kUsual>
struct Gates {
  using Reg = typename V::Reg;

  explicit Gates(const RecurrentStep& step) : activations(step.activations), clip(step.clip) {}

  // Activation `index` of a gate whose sum is x.
  inline __attribute__((always_inline)) Reg gate(int index, Reg x) const {
    if (!kUsual) {  // NaN passes through
      const Reg limit = V::set1(clip);
      x = V::min(limit, V::max(V::sub(V::zero(), limit), x));
    }
    return activate(index, x);
  }

  inline __attribute__((always_inline)) Reg activate(int index, Reg x) const {
    if (kUsual) return index == 0 ? Sigmoid::apply<V>(x) : Tanh::apply<V>(x);
    return any(activations[index], x);
  }

  const GateActivation* activations;
  float clip;

 private:
  static __attribute__((noinline)) Reg any(const GateActivation& activation, Reg x) {
    switch (activation.function) {
      case GateFunction::kSigmoid: return Sigmoid::apply<V>(x);
      case GateFunction::kTanh: return Tanh::apply<V>(x);
      case GateFunction::kRelu: return V::max(V::zero(), x);
      default: break;
    }
    float lanes[V::kLanes];
    V::store(lanes, x);
    for (float& lane : lanes) lane = gate_activation(activation, lane);
    return V::load(lanes);
  }
};

// Stores the state of a block, and to y as far as it has units.
template <class V>
inline __attribute__((always_inline)) void store_state(const RecurrentStep& step, int64_t block, typename V::Reg h) {
  const int64_t place = block * V::kLanes;
  V::store(step.next + place, h);
  if (!step.y) return;
  if (place + V::kLanes <= step.units) {
    V::store(step.y + place, h);
  } else {
    V::store(step.y + place, h, V::mask(static_cast<int>(step.units - place)));
  }
}

template <class V, bool kUsual>
void lstm_blocks(const RecurrentStep& step) {
  constexpr int64_t L = V::kLanes;
  const Gates<V, kUsual> of(step);
  for (int64_t block = 0; block < step.blocks; ++block) {
    const auto sum = [&](int gate) {
      const int64_t place = (4 * block + gate) * L;
      return V::add(V::load(step.x + place), V::load(step.product + place));
    };
    auto i = sum(0), o = sum(1), f = sum(2);
    auto c = V::load(step.cell + block * L);
    if (step.peepholes) {
      const float* p = step.peepholes + 3 * block * L;
      i = V::fma(V::load(p), c, i);
      f = V::fma(V::load(p + 2 * L), c, f);
    }
    i = of.gate(0, i);
    f = step.input_forget ? V::sub(V::set1(1.0f), i) : of.gate(0, f);
    c = V::fma(i, of.gate(1, sum(3)), V::mul(f, c));
    V::store(step.cell + block * L, c);
    if (step.peepholes) o = V::fma(V::load(step.peepholes + (3 * block + 1) * L), c, o);
    store_state<V>(step, block, V::mul(of.gate(0, o), of.activate(2, c)));
  }
}

template <class V, bool kUsual>
void gru_blocks(const RecurrentStep& step) {
  constexpr int64_t L = V::kLanes;
  const Gates<V, kUsual> of(step);
  for (int64_t block = 0; block < step.blocks; ++block) {
    const float *x = step.x + 3 * block * L, *product = step.product + 3 * block * L;
    const auto z = of.gate(0, V::add(V::load(x), V::load(product)));
    const auto r = of.gate(0, V::add(V::load(x + L), V::load(product + L)));
    const auto candidate = of.gate(1, V::fma(r, V::load(product + 2 * L), V::load(x + 2 * L)));
    const auto h = V::load(step.state + block * L);
    store_state<V>(step, block, V::fma(z, h, V::mul(V::sub(V::set1(1.0f), z), candidate)));
  }
}

template <class V, bool kUsual>
void gru_gate_blocks(const RecurrentStep& step) {
  constexpr int64_t L = V::kLanes;
  const Gates<V, kUsual> of(step);
  for (int64_t block = 0; block < step.blocks; ++block) {
    const float *x = step.x + 3 * block * L, *product = step.product + 2 * block * L;
    V::store(step.cell + block * L, of.gate(0, V::add(V::load(x), V::load(product))));
    const auto r = of.gate(0, V::add(V::load(x + L), V::load(product + L)));
    V::store(step.next + block * L, V::mul(r, V::load(step.state + block * L)));
  }
}

template <class V, bool kUsual>
void gru_candidate_blocks(const RecurrentStep& step) {
  constexpr int64_t L = V::kLanes;
  const Gates<V, kUsual> of(step);
  for (int64_t block = 0; block < step.blocks; ++block) {
    const auto sum = V::add(V::load(step.x + (3 * block + 2) * L), V::load(step.product + block * L));
    const auto candidate = of.gate(1, sum);
    const auto z = V::load(step.cell + block * L), h = V::load(step.state + block * L);
    store_state<V>(step, block, V::fma(z, h, V::mul(V::sub(V::set1(1.0f), z), candidate)));
  }
}

// The only activation of an RNN is its first, so the usual one is not the sigmoid.
template <class V, bool kUsual>
void rnn_blocks(const RecurrentStep& step) {
  constexpr int64_t L = V::kLanes;
  const Gates<V, kUsual> of(step);
  for (int64_t block = 0; block < step.blocks; ++block) {
    const auto sum = V::add(V::load(step.x + block * L), V::load(step.product + block * L));
    store_state<V>(step, block, of.gate(kUsual ? 1 : 0, sum));
  }
}

// Whether the activations are the usual ones and nothing is clipped.
inline bool is_usual(const RecurrentStep& step, int count) {
  const auto is = [&](int index, GateFunction function) { return step.activations[index].function == function; };
  if (step.clip < __builtin_inff()) return false;
  if (count == 1) return is(0, GateFunction::kTanh);
  bool usual = is(0, GateFunction::kSigmoid);
  for (int i = 1; i < count; ++i) usual = usual && is(i, GateFunction::kTanh);
  return usual;
}

template <int kCount, RecurrentFunction usual, RecurrentFunction any>
void recurrent_step(const RecurrentStep& step) {
  is_usual(step, kCount) ? usual(step) : any(step);
}

template <class V>
RecurrentFunctions recurrent_functions() {
  RecurrentFunctions functions;
  functions.rnn = &recurrent_step<1, &rnn_blocks<V, true>, &rnn_blocks<V, false>>;
  functions.lstm = &recurrent_step<3, &lstm_blocks<V, true>, &lstm_blocks<V, false>>;
  functions.gru = &recurrent_step<2, &gru_blocks<V, true>, &gru_blocks<V, false>>;
  functions.gru_gates = &recurrent_step<2, &gru_gate_blocks<V, true>, &gru_gate_blocks<V, false>>;
  functions.gru_candidate = &recurrent_step<2, &gru_candidate_blocks<V, true>, &gru_candidate_blocks<V, false>>;
  return functions;
}

}  // namespace
}  // namespace loopwright
