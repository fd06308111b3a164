#include "pool.h"

namespace loopwright {

std::unique_ptr<const Layer> make_avg_pool2d_with_pads(const Description& description, const Machine& machine) {
  return PoolLayer::make<Pooling::kAverageWithPads>(description, machine);
}

}  // namespace loopwright
