// Shares of parallel regions that run one by one on the calling thread, each timed: what many threads would do, measured
// on one core.
#pragma once

#include <cstdint>
#include <vector>

namespace loopwright {

// The seconds of each share of one parallel region. A share that was left out has 0.
struct SimulatedRegion {
  int threads;
  std::vector<double> share_secs;
};

// While one exists, the parallel regions of the thread that created it run their shares in order on that thread, with
// any number of threads. Shares that wait for each other (SpinBarrier) do not wait, so their answers may be wrong.
class SimulatedShares {
 public:
  // `only` is the share that runs in regions that have it, -1 for all shares. The answers are incomplete with it.
  // Throws std::logic_error if this thread simulates already.
  explicit SimulatedShares(int only = -1);
  ~SimulatedShares();
  SimulatedShares(const SimulatedShares&) = delete;
  SimulatedShares& operator=(const SimulatedShares&) = delete;

  // The regions so far, in order.
  const std::vector<SimulatedRegion>& regions() const { return regions_; }

 private:
  friend class SimulatedRun;
  const int only_;
  std::vector<SimulatedRegion> regions_;
};

// Returns how many regions the calling thread has simulated in the SimulatedShares that exists; 0 without one.
int64_t simulated_regions();

}  // namespace loopwright
