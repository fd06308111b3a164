#include "rowwise.h"

namespace loopwright {

std::unique_ptr<const Layer> make_layer_norm(const Description& description, const Machine& machine) {
  return RowLayer::make("layer_norm", description, machine);
}

}  // namespace loopwright
