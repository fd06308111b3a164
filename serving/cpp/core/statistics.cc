#include "core/statistics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>

#include <chrono>

namespace loopwright::serving {
namespace {

using prometheus::Histogram;

// From 10 us, a tiny model, to 10 s, in steps of 2.5, 2 and 2: histograms of several servers can be added.
const Histogram::BucketBoundaries kSecs{1e-5,   2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2,
                                        2.5e-2, 5e-2,   0.1,  0.25, 0.5,    1,    2.5,  5,      10};
const Histogram::BucketBoundaries kItems{1, 2, 4, 8, 16, 32, 64, 128};

double secs(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

prometheus::Family<Histogram>& histograms(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

prometheus::Family<prometheus::Gauge>& gauges(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

}  // namespace

Metrics::Metrics()
    : queue(histograms(*registry, "loopwright_queue_seconds", "Time from arrival to the start of a run")),
      compute(histograms(*registry, "loopwright_compute_seconds", "Time of a run")),
      total(histograms(*registry, "loopwright_request_seconds", "Time from arrival to the result")),
      batch(histograms(*registry, "loopwright_batch_items", "Items per run")),
      requests(prometheus::BuildCounter()
                   .Name("loopwright_requests_total")
                   .Help("Requests that ended, by the kind of their error; OK without one")
                   .Register(*registry)),
      cpu(prometheus::BuildCounter()
              .Name("process_cpu_seconds_total")
              .Help("CPU time of the server, of users and of the system")
              .Register(*registry)),
      depth(gauges(*registry, "loopwright_queue_depth", "Requests that wait for an instance")),
      models(gauges(*registry, "loopwright_ready_versions", "Versions that take requests")),
      cores(gauges(*registry, "loopwright_cores", "Cores that the server may use")),
      busy(gauges(*registry, "loopwright_busy_cores", "Cores that run a model now")),
      memory(gauges(*registry, "loopwright_resident_bytes", "Resident memory of the server")) {}

VersionMetrics::VersionMetrics(Metrics& metrics, const std::string& model, int64_t version)
    : metrics_(metrics),
      model_(model),
      version_(version),
      labels_{{"model", model}, {"version", std::to_string(version)}},
      queue_(metrics.queue.Add(labels_, kSecs)),
      compute_(metrics.compute.Add(labels_, kSecs)),
      total_(metrics.total.Add(labels_, kSecs)),
      batch_(metrics.batch.Add(labels_, kItems)),
      ok_(metrics.requests.Add({{"code", "OK"}, {"model", model}, {"version", std::to_string(version)}})) {}

void VersionMetrics::Sum::add(Clock::duration time) {
  count.fetch_add(1, std::memory_order_relaxed);
  nanos.fetch_add(static_cast<uint64_t>(std::chrono::nanoseconds(time).count()), std::memory_order_relaxed);
}

Totals VersionMetrics::Sum::totals() const {
  return {count.load(std::memory_order_relaxed), nanos.load(std::memory_order_relaxed)};
}

void VersionMetrics::note_success(int64_t items, Clock::duration queue, Clock::duration compute,
                                  Clock::duration total) {
  ok_.Increment();
  items_.fetch_add(static_cast<uint64_t>(items), std::memory_order_relaxed);
  queue_.Observe(secs(queue));
  compute_.Observe(secs(compute));
  total_.Observe(secs(total));
  success_.add(total);
  queued_.add(queue);
  computed_.add(compute);
  last_millis_.store(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count(),
      std::memory_order_relaxed);
}

void VersionMetrics::note_failure(ErrorKind kind, Clock::duration total) {
  prometheus::Labels labels = labels_;
  labels.emplace("code", name(kind));
  metrics_.requests.Add(labels).Increment();
  fail_.add(total);
}

void VersionMetrics::note_execution(size_t batch) {
  executions_.fetch_add(1, std::memory_order_relaxed);
  batch_.Observe(static_cast<double>(batch));
}

void VersionMetrics::note_traced(TracedRun run) const {
  run.model = model_;
  run.version = version_;
  if (metrics_.trace) metrics_.trace(run);
}

ModelStatistics VersionMetrics::statistics() const {
  return {model_,
          version_,
          success_.totals(),
          fail_.totals(),
          queued_.totals(),
          computed_.totals(),
          items_.load(std::memory_order_relaxed),
          executions_.load(std::memory_order_relaxed),
          last_millis_.load(std::memory_order_relaxed)};
}

}  // namespace loopwright::serving
