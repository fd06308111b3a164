// Which requests are traced, and their spans.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "loopwright/serving/engine.h"
#include "trace/exporter.h"

namespace loopwright::serving::trace {

class Tracer;

// The span of a traced request, from its arrival to its response.
class RequestSpan {
 public:
  RequestSpan(Tracer& tracer, Span span) : tracer_(tracer), span_(std::move(span)) {}

  // For the request of the engine.
  const TraceContext& context() const { return span_.context; }
  Span& span() { return span_; }
  // Notes the model, its version and the size of the batch, or the error.
  void note(const Result& result) noexcept;
  // Ends and exports the span. A failure is the server's, not the client's.
  void end(bool is_failure) noexcept;

 private:
  Tracer& tracer_;
  Span span_;
  std::string reason_;  // of the error
};

// Thread-safe. Outlives its spans.
class Tracer {
 public:
  // Traces a share of the requests without a traceparent; one with it decides by its flag.
  Tracer(Endpoint endpoint, double share, std::string server_version, std::function<void(const std::string&)> log);

  // Begins the span of a request; null if it is not traced. A traceparent that is not valid is ignored.
  std::shared_ptr<RequestSpan> begin(const char* name, std::string_view traceparent);
  // Exports the spans of a run: its time in the queue, and the computation.
  void add(const TracedRun& run) noexcept;
  void close() { exporter_.close(); }
  std::string metrics() const { return exporter_.metrics(); }

 private:
  friend class RequestSpan;
  int64_t nanos(Clock::time_point time) const;

  const double share_;
  // Between the engine's clock and that of the calendar. The spans of a request use the same one, so that children lie in their parent.
  std::atomic<int64_t> offset_nanos_{0};
  Exporter exporter_;
};

}  // namespace loopwright::serving::trace
