// The CPUs that this process may use: their cores, NUMA nodes and kinds, and the CPU time that its control group has. From
// them follow the default number of threads, and which CPUs run them.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace loopwright {

// A logical CPU.
struct Cpu {
  int id = 0;
  int core = 0;             // the smallest id of the CPUs of its physical core
  int node = 0;             // of memory
  bool efficiency = false;  // of an efficiency core, where there are faster ones
};

struct Topology {
  std::vector<Cpu> cpus;        // at least one; those of the affinity mask of the calling thread, by id
  std::optional<double> quota;  // CPUs' worth of time that the control group has; nothing without a limit

  // Reads /sys and /proc below `root`. `mask` has the CPUs that may be used; nothing means those of the calling thread.
  // What cannot be read counts as one CPU per core, one node, one kind of core and no quota. Throws std::invalid_argument
  // if `mask` is empty, repeats a CPU or has a negative one.
  static Topology read(const std::string& root = "", const std::optional<std::vector<int>>& mask = std::nullopt);

  // The largest number of threads that is accepted: one per CPU, and no more than the quota rounded up.
  int most_threads() const;

  // The number of threads if nobody gives one: one per physical core of one kind and one node, and no more than the quota
  // rounded down, but at least one.
  //  - Two SMT siblings share the units for FMAs, which one thread of a kernel keeps busy.
  //  - Threads get equal shares, so an efficiency core would delay all performance cores.
  //  - Between nodes, barriers and the lines of activations take several times as long, and weights are in the memory of
  //    one node.
  //  - With a quota of 2.5, three threads that are always running have used up their time after 5/6 of each period (of
  //    0.1 s, usually), and all of them are stopped until its end.
  int default_threads() const;

  // All CPUs by id, best first: performance cores before efficiency cores and those before SMT siblings; of each of these,
  // the node with the most physical performance cores first. The first n serve n threads.
  std::vector<int> order() const;

  // The first `threads` CPUs of order(), or all if there are fewer.
  std::vector<int> cpus_for(int threads) const;

  // Where `threads` threads run, in a few words, such as "2 threads: 2 physical cores of 1 node". If they are the default
  // number, it says what has been left out too.
  std::string description(int threads) const;
};

// Topology::read().most_threads(), which reads less.
int usable_cores();

}  // namespace loopwright
