#include "loopwright/topology.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <tuple>

#include "machine/system_files.h"

namespace loopwright {
namespace {

// The largest number of threads of an operator.
constexpr int kMostThreads = 1024;
// A core below this part of the speed of the fastest one is an efficiency core. Efficiency cores have half to 3/4 of the
// speed; those of one kind that the vendor prefers, as they reach a higher clock, differ by a tenth at most.
constexpr double kEfficiencyBelow = 0.8;

std::vector<int> mask_of_thread() {
  std::vector<cpu_set_t> sets(16);  // the kernel rejects masks that are smaller than its own, of up to 8192 CPUs
  const size_t bytes = sets.size() * sizeof(cpu_set_t);
  std::vector<int> cpus;
  if (sched_getaffinity(0, bytes, sets.data()) == 0)
    for (int cpu = 0; cpu < static_cast<int>(8 * bytes); ++cpu)
      if (CPU_ISSET_S(cpu, bytes, sets.data())) cpus.push_back(cpu);
  return cpus.empty() ? std::vector<int>{0} : cpus;
}

std::vector<int> checked(std::vector<int> mask) {
  if (mask.empty()) throw std::invalid_argument("there must be at least one CPU");
  std::sort(mask.begin(), mask.end());
  if (mask.front() < 0 || mask.back() >= kMostCpus)
    throw std::invalid_argument("CPUs have numbers from 0 to " + std::to_string(kMostCpus - 1));
  if (const auto twice = std::adjacent_find(mask.begin(), mask.end()); twice != mask.end())
    throw std::invalid_argument("CPU " + std::to_string(*twice) + " is given twice");
  return mask;
}

int most_threads_of(size_t cpus, const std::optional<double>& quota) {
  const double allowed = std::min(std::ceil(quota.value_or(kMostThreads)), static_cast<double>(cpus));
  return static_cast<int>(std::clamp<double>(allowed, 1, kMostThreads));
}

// Returns the node of each CPU.
std::map<int, int> nodes_of_cpus(const std::string& root) {
  const std::string folder = root + "/sys/devices/system/node/";
  std::map<int, int> nodes;
  for (const int node : cpu_list(folder + "online"))
    for (const int cpu : cpu_list(folder + "node" + std::to_string(node) + "/cpulist")) nodes[cpu] = node;
  return nodes;
}

// Sets which CPUs are of efficiency cores. Intel's hybrid CPUs list both kinds; others have files with the relative
// speed, or at least the highest clock.
void set_kinds(const std::string& root, std::vector<Cpu>& cpus) {
  const std::vector<int> slow = cpu_list(root + "/sys/devices/cpu_atom/cpus");
  const bool lists_kinds = !slow.empty() && !cpu_list(root + "/sys/devices/cpu_core/cpus").empty();
  if (lists_kinds) {
    for (Cpu& cpu : cpus) cpu.efficiency = std::find(slow.begin(), slow.end(), cpu.id) != slow.end();
    return;
  }
  for (const char* file : {"/cpu_capacity", "/cpufreq/cpuinfo_max_freq"}) {
    std::vector<double> speeds;
    for (const Cpu& cpu : cpus)
      if (const auto speed = number(root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu.id) + file))
        speeds.push_back(*speed);
    if (speeds.size() < cpus.size()) continue;
    const double most = *std::max_element(speeds.begin(), speeds.end());
    bool differ = false;
    for (size_t i = 0; i < cpus.size(); ++i) differ |= cpus[i].efficiency = speeds[i] < kEfficiencyBelow * most;
    if (differ) return;
  }
}

struct Ranked {
  Cpu cpu;
  int sibling = 0;  // how many CPUs of its core come before it
};

// Returns the CPUs in the order of use; see Topology::order().
std::vector<Ranked> ranked(const std::vector<Cpu>& cpus) {
  std::map<int, int> seen, performance_cores;  // by core, by node
  std::vector<Ranked> all;
  for (const Cpu& cpu : cpus) {
    all.push_back({cpu, seen[cpu.core]++});
    performance_cores[cpu.node] += all.back().sibling == 0 && !cpu.efficiency;
  }
  const auto key = [&](const Ranked& r) {
    return std::tuple(r.sibling, r.cpu.efficiency, -performance_cores[r.cpu.node], r.cpu.node, r.cpu.id);
  };
  std::sort(all.begin(), all.end(), [&](const Ranked& a, const Ranked& b) { return key(a) < key(b); });
  return all;
}

// The CPUs of ranked() that are of the kind and the node of the first one, one per physical core.
int alike(const std::vector<Ranked>& all) {
  const Cpu& first = all.front().cpu;
  return static_cast<int>(std::count_if(all.begin(), all.end(), [&](const Ranked& r) {
    return r.sibling == 0 && r.cpu.efficiency == first.efficiency && r.cpu.node == first.node;
  }));
}

std::string counted(int count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

struct Counts {
  int performance = 0, efficiency = 0, siblings = 0;
  std::set<int> nodes;

  template <class First>
  Counts(First first, First last) {
    for (; first != last; ++first) {
      (first->sibling > 0 ? siblings : first->cpu.efficiency ? efficiency : performance) += 1;
      nodes.insert(first->cpu.node);
    }
  }
  // `hybrid`: whether the process may use two kinds of cores.
  std::string text(bool hybrid) const {
    std::vector<std::string> parts;
    if (performance > 0) parts.push_back(counted(performance, hybrid ? "performance core" : "physical core"));
    if (efficiency > 0) parts.push_back(counted(efficiency, "efficiency core"));
    if (siblings > 0) parts.push_back(counted(siblings, "SMT sibling"));
    std::string joined;
    for (const std::string& part : parts) joined += (joined.empty() ? "" : ", ") + part;
    return joined;
  }
};

std::string written(double quota) {
  std::ostringstream text;
  text.precision(3);
  text << quota;
  return text.str();
}

}  // namespace

Topology Topology::read(const std::string& root, const std::optional<std::vector<int>>& mask) {
  Topology found;
  const std::map<int, int> nodes = nodes_of_cpus(root);
  for (const int id : mask ? checked(*mask) : mask_of_thread()) {
    const std::string topology = root + "/sys/devices/system/cpu/cpu" + std::to_string(id) + "/topology/";
    const std::vector<int> siblings = cpu_list(topology + "thread_siblings_list");
    const auto node = nodes.find(id);
    const int core = siblings.empty() ? id : *std::min_element(siblings.begin(), siblings.end());
    found.cpus.push_back({id, core, node == nodes.end() ? 0 : node->second});
  }
  set_kinds(root, found.cpus);
  found.quota = cpu_quota(root);
  return found;
}

int Topology::most_threads() const { return most_threads_of(cpus.size(), quota); }

int Topology::default_threads() const {
  const int cores = std::min(alike(ranked(cpus)), kMostThreads);
  return static_cast<int>(std::max(1.0, std::min<double>(cores, std::floor(quota.value_or(cores)))));
}

std::vector<int> Topology::order() const {
  std::vector<int> ids;
  for (const Ranked& r : ranked(cpus)) ids.push_back(r.cpu.id);
  return ids;
}

std::vector<int> Topology::cpus_for(int threads) const {
  std::vector<int> ids = order();
  ids.resize(std::min(ids.size(), static_cast<size_t>(std::max(0, threads))));
  return ids;
}

std::string Topology::description(int threads) const {
  const std::vector<Ranked> all = ranked(cpus);
  const auto used = static_cast<std::ptrdiff_t>(cpus_for(threads).size());
  const auto kind = [](const Ranked& r) { return r.cpu.efficiency; };
  const bool hybrid = std::any_of(all.begin(), all.end(), kind) && !std::all_of(all.begin(), all.end(), kind);
  const Counts taken(all.begin(), all.begin() + used), left(all.begin() + used, all.end());
  const auto nodes = [](const Counts& of) { return counted(static_cast<int>(of.nodes.size()), "node"); };
  std::string text = counted(threads, "thread") + ": " + taken.text(hybrid) + " of " + nodes(taken);
  if (threads == default_threads() && used < static_cast<std::ptrdiff_t>(all.size())) {
    const bool limited = quota && threads < alike(all);
    const bool elsewhere =
        std::any_of(left.nodes.begin(), left.nodes.end(), [&](int n) { return !taken.nodes.count(n); });
    if (limited) {
      text += "; the CPU quota is " + written(*quota);
    } else {
      text += "; not used: " + left.text(hybrid) + (elsewhere ? " of " + nodes(left) : "");
    }
  }
  return text;
}

int usable_cores() { return most_threads_of(mask_of_thread().size(), cpu_quota("")); }

}  // namespace loopwright
