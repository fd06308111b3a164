#include "loopwright/simulation.h"

#include <chrono>
#include <stdexcept>
#include <utility>

#include "core/simulated_run.h"

namespace loopwright {
namespace {

thread_local SimulatedShares* simulated = nullptr;  // of this thread

}  // namespace

// Adds regions to those of SimulatedShares.
class SimulatedRun {
 public:
  static void run(SimulatedShares& to, int threads, ThreadBody body) {
    using Clock = std::chrono::steady_clock;
    SimulatedRegion region{threads, std::vector<double>(static_cast<size_t>(threads), 0.0)};
    for (int t = 0; t < threads; ++t) {
      if (to.only_ >= 0 && t != to.only_) continue;
      const auto start = Clock::now();
      body(t);
      region.share_secs[static_cast<size_t>(t)] = std::chrono::duration<double>(Clock::now() - start).count();
    }
    to.regions_.push_back(std::move(region));
  }
};

SimulatedShares::SimulatedShares(int only) : only_(only) {
  if (simulated) throw std::logic_error("this thread simulates shares already");
  simulated = this;
}

SimulatedShares::~SimulatedShares() { simulated = nullptr; }

int64_t simulated_regions() { return simulated ? static_cast<int64_t>(simulated->regions().size()) : 0; }

bool is_simulating() { return simulated != nullptr; }

void simulate(int threads, ThreadBody body) { SimulatedRun::run(*simulated, threads, body); }

}  // namespace loopwright
