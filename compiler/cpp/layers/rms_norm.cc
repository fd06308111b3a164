#include "rowwise.h"

namespace loopwright {

std::unique_ptr<const Layer> make_rms_norm(const Description& description, const Machine& machine) {
  return RowLayer::make("rms_norm", description, machine);
}

}  // namespace loopwright
