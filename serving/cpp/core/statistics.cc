#include "core/statistics.h"

#include <algorithm>
#include <chrono>
#include <utility>

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

prometheus::Family<prometheus::Counter>& counters(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Labels labels_of(const std::string& model, int64_t version) {
  return {{"model", model}, {"version", std::to_string(version)}};
}

prometheus::Labels with(prometheus::Labels labels, const char* name, const std::string& value) {
  labels.emplace(name, value);
  return labels;
}

std::string text_of(const CoreSet& cores) {
  std::string text;
  for (const int cpu : cores) text += (text.empty() ? "" : ",") + std::to_string(cpu);
  return text;
}

}  // namespace

Metrics::Metrics()
    : queue(histograms(*registry, "loopwright_queue_seconds", "Time from arrival to the start of a run")),
      total(histograms(*registry, "loopwright_request_seconds", "Time from arrival to the result")),
      requests(counters(*registry, "loopwright_requests_total",
                        "Requests that ended, by the kind of their error; OK without one")),
      compute(histograms(*registry, "loopwright_compute_seconds", "Time of the run of a request, by instance")),
      batch(histograms(*registry, "loopwright_batch_items", "Items per run, by instance")),
      busy(counters(*registry, "loopwright_instance_busy_seconds_total", "Time in which an instance used its cores")),
      instance_cores(gauges(*registry, "loopwright_instance_cores", "Cores of an instance, and which CPUs they are")),
      cpu(counters(*registry, "process_cpu_seconds_total", "CPU time of the server, of users and of the system")),
      depth(gauges(*registry, "loopwright_queue_depth", "Requests that wait for an instance")),
      models(gauges(*registry, "loopwright_ready_versions", "Versions that take requests")),
      cores(gauges(*registry, "loopwright_cores", "Cores that the server may use")),
      busy_cores(gauges(*registry, "loopwright_busy_cores", "Cores that run a model now")),
      memory(gauges(*registry, "loopwright_resident_bytes", "Resident memory of the server")) {}

InstanceMetrics::InstanceMetrics(Metrics& metrics, const std::string& model, int64_t version, size_t place,
                                 CoreSet cores)
    : cores_(std::move(cores)) {
  const prometheus::Labels labels = with(labels_of(model, version), "instance", std::to_string(place));
  compute_ = metrics.compute.get(labels, kSecs);
  batch_ = metrics.batch.get(labels, kItems);
  busy_ = metrics.busy.get(labels);
  number_of_cores_ = metrics.instance_cores.get(with(labels, "cpus", text_of(cores_)));
  number_of_cores_->Set(static_cast<double>(cores_.size()));
}

void InstanceMetrics::note_compute(Clock::duration time) { compute_->Observe(secs(time)); }

void InstanceMetrics::note_batch(int64_t items) { batch_->Observe(static_cast<double>(items)); }

void InstanceMetrics::note_busy(Clock::duration time) { busy_->Increment(secs(time)); }

InstanceStatistics InstanceMetrics::statistics() const { return {cores_, busy_->Value()}; }

VersionMetrics::VersionMetrics(Metrics& metrics, const std::string& model, int64_t version)
    : metrics_(metrics),
      model_(model),
      version_(version),
      labels_(labels_of(model, version)),
      queue_(metrics.queue.get(labels_, kSecs)),
      total_(metrics.total.get(labels_, kSecs)),
      ok_(metrics.requests.get(with(labels_, "code", "OK"))) {}

void VersionMetrics::Sum::add(Clock::duration time) {
  count.fetch_add(1, std::memory_order_relaxed);
  nanos.fetch_add(static_cast<uint64_t>(std::chrono::nanoseconds(time).count()), std::memory_order_relaxed);
}

Totals VersionMetrics::Sum::totals() const {
  return {count.load(std::memory_order_relaxed), nanos.load(std::memory_order_relaxed)};
}

void VersionMetrics::note_success(int64_t items, Clock::duration queue, Clock::duration compute,
                                  Clock::duration total) {
  ok_->Increment();
  items_.fetch_add(static_cast<uint64_t>(items), std::memory_order_relaxed);
  queue_->Observe(secs(queue));
  total_->Observe(secs(total));
  success_.add(total);
  queued_.add(queue);
  computed_.add(compute);
  last_millis_.store(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count(),
      std::memory_order_relaxed);
}

void VersionMetrics::note_failure(ErrorKind kind, Clock::duration total) {
  {
    const std::lock_guard lock(failures_mutex_);
    auto& counter = failures_[kind];
    if (!counter) counter = metrics_.requests.get(with(labels_, "code", name(kind)));
    counter->Increment();
  }
  fail_.add(total);
}

void VersionMetrics::note_execution() { executions_.fetch_add(1, std::memory_order_relaxed); }

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
          last_millis_.load(std::memory_order_relaxed),
          {}};
}

}  // namespace loopwright::serving
