#include "recurrent/direction.h"

#include <algorithm>

namespace loopwright {
namespace {

// For each direction, b has gates × units biases of w and then as many of r. Those of both are added, except, with
// linear_before_reset, of a GRU's third gate, where r multiplies the second.
struct Biases {
  std::vector<float> x, h;

  Biases(const float* b, int64_t rows, int64_t units, bool linear_before_reset) {
    if (!b) return;
    const int64_t joined = linear_before_reset ? 2 * units : rows;
    x.assign(b, b + rows);
    for (int64_t i = 0; i < joined; ++i) x[static_cast<size_t>(i)] += b[rows + i];
    if (!linear_before_reset) return;
    h.assign(static_cast<size_t>(rows), 0.0f);
    std::copy(b + rows + joined, b + 2 * rows, h.begin() + joined);
  }
};

const float* data(const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }

}  // namespace

RecurrentDirection::RecurrentDirection(const RecurrentOptions& options, const RecurrentWeights& weights,
                                       const RecurrentLayout& layout, int64_t index, Isa isa)
    : reverse(options.reverse[static_cast<size_t>(index)]),
      x([&] {
        const int64_t rows = layout.gates * layout.units;
        const Biases biases(weights.b ? weights.b + index * 2 * rows : nullptr, rows, layout.units,
                            options.linear_before_reset);
        return GateProduct(weights.w + index * rows * layout.inputs, data(biases.x), layout.gates, layout.units,
                           layout.inputs, isa, layout.parts);
      }()),
      h([&] {
        const int64_t rows = layout.gates * layout.units;
        const Biases biases(weights.b ? weights.b + index * 2 * rows : nullptr, rows, layout.units,
                            options.linear_before_reset);
        const bool resets_first = options.cell == Cell::kGru && !options.linear_before_reset;
        return GateProduct(weights.r + index * rows * layout.units, data(biases.h),
                           resets_first ? layout.gates - 1 : layout.gates, layout.units, layout.units, isa,
                           layout.parts);
      }()) {
  const int64_t units = layout.units, lanes = layout.lanes;
  if (options.cell == Cell::kGru && !options.linear_before_reset) {
    const float* r = weights.r + index * layout.gates * units * units;
    candidate.emplace(r + 2 * units * units, nullptr, 1, units, units, isa, layout.parts);
  }
  if (weights.p) {
    peepholes = make_weight_buffer(3 * layout.padded());
    for (int64_t i = 0; i < 3 * units; ++i) {
      const int64_t u = i % units;
      peepholes[(u / lanes * 3 + i / units) * lanes + u % lanes] = weights.p[index * 3 * units + i];
    }
  }
  const int count = activations_of(options.cell);
  const auto first = options.activations.begin() + index * count;
  activations.assign(first, first + count);
}

}  // namespace loopwright
