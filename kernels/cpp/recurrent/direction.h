// The weights of one direction of a recurrent layer, packed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/buffer.h"
#include "loopwright/recurrent.h"
#include "recurrent/gate_product.h"

namespace loopwright {

// Sizes of a recurrent layer. Units are padded to blocks of `lanes`.
struct RecurrentLayout {
  int64_t directions, inputs, units;
  int gates, lanes;
  int parts;  // of the blocks, which different threads may compute

  int64_t blocks() const { return (units + lanes - 1) / lanes; }
  int64_t padded() const { return blocks() * lanes; }
  int64_t columns() const { return padded() * gates; }
};

struct RecurrentDirection {
  bool reverse;
  GateProduct x;                         // of the inputs, all gates
  GateProduct h;                         // of the state, all gates; of a GRU that resets first, z and r
  std::optional<GateProduct> candidate;  // its third gate
  Buffer peepholes;                      // for each block i, o, f; or null
  std::vector<GateActivation> activations;

  RecurrentDirection(const RecurrentOptions& options, const RecurrentWeights& weights, const RecurrentLayout& layout,
                     int64_t index, Isa isa);
};

}  // namespace loopwright
