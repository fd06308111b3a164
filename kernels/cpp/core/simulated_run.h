#pragma once

#include "loopwright/thread_pool.h"

namespace loopwright {

// Runs the shares of a region on a thread that simulates, and adds them to its SimulatedShares.
void simulate(int threads, ThreadBody body);

}  // namespace loopwright
