#include "pool.h"

namespace loopwright {

std::unique_ptr<const Layer> make_avg_pool2d(const Description& description, const Machine& machine) {
  return PoolLayer::make<Pooling::kAverage>(description, machine);
}

}  // namespace loopwright
