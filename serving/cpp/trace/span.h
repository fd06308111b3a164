// Spans, as the OpenTelemetry protocol has them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "loopwright/serving/request.h"

namespace loopwright::serving::trace {

using SpanId = std::array<uint8_t, 8>;

// The numbers of the protocol.
enum class SpanKind { kInternal = 1, kServer = 2 };

struct Span {
  TraceContext context;     // the trace and the span's id
  SpanId parent{};          // zeros: none
  bool has_remote = false;  // the parent is of another process
  SpanKind kind = SpanKind::kInternal;
  const char* name = "";
  int64_t start_nanos = 0, end_nanos = 0;  // since 1970
  std::vector<std::pair<const char*, std::variant<int64_t, std::string>>> attributes;
  bool is_failed = false;
  std::string message;  // of the failure

  void set(const char* key, int64_t value) { attributes.emplace_back(key, value); }
  // Long texts are cut, because clients choose some of them.
  void set(const char* key, std::string_view value) { attributes.emplace_back(key, cut(value)); }
  void fail(std::string_view why) {
    is_failed = true;
    message = cut(why);
  }

 private:
  static std::string cut(std::string_view text) { return std::string(text.substr(0, 256)); }
};

// Reads a header `traceparent` of W3C Trace Context. Returns whether it is valid.
bool read_traceparent(std::string_view text, TraceContext& context);

SpanId random_span_id();
std::array<uint8_t, 16> random_trace_id();
// Returns a number from 0 up to, but without, 1.
double random_share();

// Returns the spans as a request of OTLP/HTTP in JSON.
std::string write_spans(const std::vector<Span>& spans, std::string_view server_version);

}  // namespace loopwright::serving::trace
