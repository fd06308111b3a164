#include "core/cores.h"

#include <loopwright/topology.h>

#include <algorithm>
#include <set>

#include "loopwright/serving/error.h"

namespace loopwright::serving {

namespace {

CoreSet physical_cores(const Topology& topology) {
  std::set<int> cores;
  for (const Cpu& cpu : topology.cpus) cores.insert(cpu.core);
  size_t count = cores.size();
  if (topology.quota) count = std::clamp<size_t>(static_cast<size_t>(*topology.quota), 1, count);
  return topology.cpus_for(static_cast<int>(count));
}

}  // namespace

Cores::Cores() : Cores(Topology::read()) {}

Cores::Cores(const Topology& topology) : Cores(physical_cores(topology)) {}

Cores::Cores(CoreSet cpus)
    : cpus_(std::move(cpus)),
      most_threads_(std::min(static_cast<int>(cpus_.size()), Topology::read("", cpus_).default_threads())) {}

std::vector<CoreSet> Cores::assign(int instances, int threads) {
  if (threads < 1 || static_cast<size_t>(threads) > cpus_.size())
    throw Error(ErrorKind::kInvalidArgument, "threads must be between 1 and " + std::to_string(cpus_.size()) +
                                                 " (the cores this process may use), got " + std::to_string(threads));
  const std::lock_guard lock(mutex_);
  std::vector<CoreSet> sets;
  for (int i = 0; i < instances; ++i) {
    CoreSet order = cpus_;
    std::stable_sort(order.begin(), order.end(), [this](int a, int b) { return instances_[a] < instances_[b]; });
    order.resize(static_cast<size_t>(threads));
    std::sort(order.begin(), order.end());
    for (const int cpu : order) ++instances_[cpu];
    sets.push_back(std::move(order));
  }
  return sets;
}

void Cores::release(const std::vector<CoreSet>& sets) {
  const std::lock_guard lock(mutex_);
  for (const CoreSet& set : sets)
    for (const int cpu : set) --instances_[cpu];
}

bool Cores::is_free(const CoreSet& set) const {
  return std::none_of(set.begin(), set.end(), [this](int cpu) {
    return static_cast<size_t>(cpu) < busy_.size() && busy_[static_cast<size_t>(cpu)];
  });
}

void Cores::set_busy(const CoreSet& set, bool busy) {
  for (const int cpu : set) {
    if (static_cast<size_t>(cpu) >= busy_.size()) busy_.resize(static_cast<size_t>(cpu) + 1);
    busy_[static_cast<size_t>(cpu)] = busy;
  }
}

// Gives cores to those who wait, in order. The cores of one who must go on waiting are kept for it, so a set of many
// cores gets its turn.
void Cores::grant() {
  std::vector<int> kept;
  for (auto place = waiting_.begin(); place != waiting_.end();) {
    Waiting& next = **place;
    const bool overlaps = std::any_of(next.set.begin(), next.set.end(), [&kept](int cpu) {
      return std::find(kept.begin(), kept.end(), cpu) != kept.end();
    });
    if (!overlaps && is_free(next.set)) {
      set_busy(next.set, true);
      next.granted = true;
      next.ready.notify_one();
      place = waiting_.erase(place);
    } else {
      kept.insert(kept.end(), next.set.begin(), next.set.end());
      ++place;
    }
  }
}

Cores::Lease::Lease(Cores& cores, const CoreSet& set) : cores_(cores), set_(set) {
  std::unique_lock lock(cores.mutex_);
  if (cores.waiting_.empty() && cores.is_free(set)) {
    cores.set_busy(set, true);
    return;
  }
  Waiting self{set, {}, false};
  cores.waiting_.push_back(&self);
  cores.grant();  // others may wait for other cores
  self.ready.wait(lock, [&self] { return self.granted; });
}

Cores::Lease::Lease(Cores& cores, const CoreSet& set, std::try_to_lock_t) : cores_(cores), set_(set) {
  const std::lock_guard lock(cores.mutex_);
  held_ = cores.waiting_.empty() && cores.is_free(set);
  if (held_) cores.set_busy(set, true);
}

Cores::Lease::~Lease() {
  if (!held_) return;
  const std::lock_guard lock(cores_.mutex_);
  cores_.set_busy(set_, false);
  if (!cores_.waiting_.empty()) cores_.grant();
}

int Cores::busy() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(std::count(busy_.begin(), busy_.end(), true));
}

}  // namespace loopwright::serving
