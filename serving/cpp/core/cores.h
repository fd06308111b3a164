// The cores that this process may use, shared by all instances: one run at a time on a core.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <vector>

#include "loopwright/serving/runtime.h"

namespace loopwright {
struct Topology;
}

namespace loopwright::serving {

// Thread-safe.
class Cores {
 public:
  // Takes one CPU of each physical core that the affinity mask permits, and no more than the quota of the control group.
  Cores();
  explicit Cores(const Topology& topology);
  explicit Cores(CoreSet cpus);

  const CoreSet& cpus() const { return cpus_; }
  // The threads of an instance that has all cores: those of one node of memory.
  int most_threads() const { return most_threads_; }

  // Returns `instances` sets of `threads` cores, those with the fewest instances so far. Sets overlap where there are not
  // enough cores. Throws Error (kInvalidArgument) if there are fewer than `threads` cores.
  std::vector<CoreSet> assign(int instances, int threads);
  void release(const std::vector<CoreSet>& sets);

  // Holds the cores of a set while an instance runs. Waiting instances get them in the order in which they came.
  class Lease {
   public:
    Lease(Cores& cores, const CoreSet& set);
    // Takes the cores only if they are free now; see held().
    Lease(Cores& cores, const CoreSet& set, std::try_to_lock_t);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    bool held() const { return held_; }

   private:
    Cores& cores_;
    const CoreSet& set_;
    bool held_ = true;
  };

  // The cores that instances run on now.
  int busy() const;

 private:
  struct Waiting {
    const CoreSet& set;
    std::condition_variable ready;
    bool granted = false;
  };

  bool is_free(const CoreSet& set) const;
  void set_busy(const CoreSet& set, bool busy);
  void grant();

  const CoreSet cpus_;
  const int most_threads_;
  mutable std::mutex mutex_;
  std::map<int, int> instances_;  // by CPU
  std::vector<bool> busy_;        // by CPU
  std::list<Waiting*> waiting_;
};

}  // namespace loopwright::serving
