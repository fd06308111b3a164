#include "pool.h"

namespace loopwright {

std::unique_ptr<const Layer> make_max_pool2d(const Description& description, const Machine& machine) {
  return PoolLayer::make<Pooling::kMax>(description, machine);
}

}  // namespace loopwright
