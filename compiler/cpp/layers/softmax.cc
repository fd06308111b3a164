#include "rowwise.h"

namespace loopwright {

std::unique_ptr<const Layer> make_softmax(const Description& description, const Machine& machine) {
  return RowLayer::make("softmax", description, machine);
}

}  // namespace loopwright
