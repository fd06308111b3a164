// What is counted of each version, for /metrics and the protocol's statistics.
#pragma once

#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "loopwright/serving/engine.h"

namespace loopwright::serving {

// The registry of a process and its families of metrics.
struct Metrics {
  Metrics();
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  prometheus::Family<prometheus::Histogram>&queue, &compute, &total, &batch;
  prometheus::Family<prometheus::Counter>&requests, &cpu;
  prometheus::Family<prometheus::Gauge>&depth, &models, &cores, &busy, &memory;
  std::function<void(const TracedRun&)> trace;  // of the engine's options
};

// The metrics of one version. They stay in the registry, because a version that is loaded again goes on counting, also while its
// predecessor still ends. Thread-safe.
class VersionMetrics {
 public:
  VersionMetrics(Metrics& metrics, const std::string& model, int64_t version);
  VersionMetrics(const VersionMetrics&) = delete;
  VersionMetrics& operator=(const VersionMetrics&) = delete;

  void note_success(int64_t items, Clock::duration queue, Clock::duration compute, Clock::duration total);
  void note_failure(ErrorKind kind, Clock::duration total);
  void note_execution(size_t batch);
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
  prometheus::Histogram &queue_, &compute_, &total_, &batch_;
  prometheus::Counter& ok_;
  Sum success_, fail_, queued_, computed_;
  std::atomic<uint64_t> items_{0}, executions_{0};
  std::atomic<int64_t> last_millis_{0};
};

}  // namespace loopwright::serving
