// What is counted of each version and its instances, for /metrics and the protocol's statistics.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "loopwright/serving/engine.h"

namespace loopwright::serving {

// The series of a family that are there as long as somebody uses them. A version that is loaded while one with its labels still ends
// shares its series. Outlives the users. Thread-safe.
template <class Metric>
class SharedSeries {
 public:
  explicit SharedSeries(prometheus::Family<Metric>& family) : family_(family) {}
  SharedSeries(const SharedSeries&) = delete;
  SharedSeries& operator=(const SharedSeries&) = delete;

  // `how`: the arguments of a new one.
  template <class... Args>
  std::shared_ptr<Metric> get(const prometheus::Labels& labels, const Args&... how) {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<Metric>& users = users_[labels];
    if (auto metric = users.lock()) return metric;
    std::shared_ptr<Metric> metric(&family_.Add(labels, how...), [this, labels](Metric* unused) {
      const std::lock_guard removing(mutex_);
      const auto place = users_.find(labels);
      if (place == users_.end() || !place->second.expired()) return;  // a later user has removed it, or uses it
      users_.erase(place);
      family_.Remove(unused);
    });
    users = metric;
    return metric;
  }

 private:
  prometheus::Family<Metric>& family_;
  std::recursive_mutex mutex_;  // a pointer that cannot be made calls its deleter
  std::map<prometheus::Labels, std::weak_ptr<Metric>> users_;
};

// The registry of a process and its families of metrics.
struct Metrics {
  Metrics();
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  SharedSeries<prometheus::Histogram> queue, total;    // of versions
  SharedSeries<prometheus::Counter> requests;          // of versions, by code
  SharedSeries<prometheus::Histogram> compute, batch;  // of instances
  SharedSeries<prometheus::Counter> busy;              // of instances
  SharedSeries<prometheus::Gauge> instance_cores;      // of instances
  prometheus::Family<prometheus::Counter>& cpu;
  prometheus::Family<prometheus::Gauge>&depth, &models, &cores, &busy_cores, &memory;
  std::function<void(const TracedRun&)> trace;  // of the engine's options
};

// The metrics of one instance of a version: a set of cores. Thread-safe.
class InstanceMetrics {
 public:
  // `place`: among the instances of the version.
  InstanceMetrics(Metrics& metrics, const std::string& model, int64_t version, size_t place, CoreSet cores);

  // Notes how long a request was computed.
  void note_compute(Clock::duration time);
  // Notes a run of so many items.
  void note_batch(int64_t items);
  // Notes how long the instance used its cores.
  void note_busy(Clock::duration time);
  InstanceStatistics statistics() const;

 private:
  const CoreSet cores_;
  std::shared_ptr<prometheus::Histogram> compute_, batch_;
  std::shared_ptr<prometheus::Counter> busy_;
  std::shared_ptr<prometheus::Gauge> number_of_cores_;
};

// The metrics of one version. Thread-safe.
class VersionMetrics {
 public:
  VersionMetrics(Metrics& metrics, const std::string& model, int64_t version);
  VersionMetrics(const VersionMetrics&) = delete;
  VersionMetrics& operator=(const VersionMetrics&) = delete;

  void note_success(int64_t items, Clock::duration queue, Clock::duration compute, Clock::duration total);
  void note_failure(ErrorKind kind, Clock::duration total);
  void note_execution();
  // Reports a run, without its model and version.
  void note_traced(TracedRun run) const;
  ModelStatistics statistics() const;

 private:
  struct Sum {
    std::atomic<uint64_t> count{0}, nanos{0};
    void add(Clock::duration time);
    Totals totals() const;
  };

  Metrics& metrics_;
  const std::string model_;
  const int64_t version_;
  const prometheus::Labels labels_;
  const std::shared_ptr<prometheus::Histogram> queue_, total_;
  const std::shared_ptr<prometheus::Counter> ok_;
  std::mutex failures_mutex_;
  std::map<ErrorKind, std::shared_ptr<prometheus::Counter>> failures_;  // those that have happened
  Sum success_, fail_, queued_, computed_;
  std::atomic<uint64_t> items_{0}, executions_{0};
  std::atomic<int64_t> last_millis_{0};
};

}  // namespace loopwright::serving
