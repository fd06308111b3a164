#include "trace/tracer.h"

#include <cstdlib>

namespace loopwright::serving::trace {
namespace {

constexpr int64_t kMostDriftNanos = 1'000'000;

template <class Time>
int64_t nanos_of(Time time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

void RequestSpan::note(const Result& result) noexcept try {
  span_.set("loopwright.model", result.response.model);
  if (result.response.version > 0) span_.set("loopwright.version", result.response.version);
  if (result.items > 0) span_.set("loopwright.items", result.items);
  if (!result.error) return;
  span_.set("error.type", std::string_view(name(result.error->kind())));
  reason_ = result.error->what();
} catch (const std::exception&) {
  // No memory: the request matters more than its span.
}

void RequestSpan::end(bool is_failure) noexcept try {
  if (is_failure) span_.fail(reason_);
  span_.end_nanos = tracer_.nanos(Clock::now());
  tracer_.exporter_.add(std::move(span_));
} catch (const std::exception&) {
  // No memory.
}

Tracer::Tracer(Endpoint endpoint, double share, std::string server_version, std::function<void(const std::string&)> log)
    : share_(share), exporter_(std::move(endpoint), std::move(server_version), std::move(log)) {}

std::shared_ptr<RequestSpan> Tracer::begin(const char* name, std::string_view traceparent) {
  TraceContext parent;
  const bool has_parent = read_traceparent(traceparent, parent);
  if (has_parent ? !parent.is_sampled : share_ == 0 || random_share() >= share_) return nullptr;
  const auto now = Clock::now();
  const int64_t offset = nanos_of(std::chrono::system_clock::now()) - nanos_of(now);
  if (std::abs(offset - offset_nanos_) > kMostDriftNanos) offset_nanos_ = offset;
  Span span;
  span.context = {has_parent ? parent.trace : random_trace_id(), random_span_id(), true};
  span.parent = parent.span;
  span.has_remote = has_parent;
  span.kind = SpanKind::kServer;
  span.name = name;
  span.start_nanos = nanos(now);
  return std::make_shared<RequestSpan>(*this, std::move(span));
}

void Tracer::add(const TracedRun& run) noexcept try {
  const auto add = [&](const char* name, Clock::time_point start, Clock::time_point end) {
    Span span;
    span.context = {run.parent.trace, random_span_id(), true};
    span.parent = run.parent.span;
    span.name = name;
    span.start_nanos = nanos(start);
    span.end_nanos = nanos(end);
    span.set("loopwright.model", run.model);
    span.set("loopwright.version", run.version);
    return span;
  };
  exporter_.add(add("queue", run.arrival, run.start));
  Span compute = add("compute", run.start, run.end);
  if (run.items > 0) compute.set("loopwright.items", run.items);
  if (run.batch > 0) compute.set("loopwright.batch_items", run.batch);
  if (run.is_failed) compute.fail("");
  exporter_.add(std::move(compute));
} catch (const std::exception&) {
  // No memory for a span.
}

int64_t Tracer::nanos(Clock::time_point time) const { return nanos_of(time) + offset_nanos_; }

}  // namespace loopwright::serving::trace
