#include "trace/span.h"

#include <unistd.h>

#include <algorithm>
#include <random>

#include "protocol/json_values.h"

namespace loopwright::serving::trace {
namespace {

constexpr size_t kTraceparent = 55;  // the length of 00-TRACE-SPAN-FLAGS
constexpr unsigned kSampled = 0x01;
// Bits 8 and 9 of a span's flags: it is known whether the parent is remote, and it is.
constexpr unsigned kHasIsRemote = 0x100, kIsRemote = 0x200;
constexpr int kFailed = 2;  // the code of a status

// Returns the value of a lower-case hexadecimal digit, or -1.
int digit_of(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

template <size_t n>
bool read_hex(std::string_view text, std::array<uint8_t, n>& bytes) {
  for (size_t i = 0; i < n; ++i) {
    const int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

template <size_t n>
bool is_zero(const std::array<uint8_t, n>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

std::mt19937_64& source() {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return random;
}

// Returns random bytes that are not all zero, which the standard has for "none".
template <size_t n>
std::array<uint8_t, n> random_bytes() {
  std::array<uint8_t, n> bytes{};
  while (is_zero(bytes))
    for (size_t i = 0; i < n; i += 8) {
      const uint64_t word = source()();
      for (size_t k = 0; k < 8; ++k) bytes[i + k] = static_cast<uint8_t>(word >> (8 * k));
    }
  return bytes;
}

template <size_t n>
void write_hex(std::string& text, const char* key, const std::array<uint8_t, n>& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  text += std::string("\"") + key + "\":\"";
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  text += "\",";
}

// Numbers of 64 bits are strings in the protocol's JSON.
void write_attribute(std::string& text, const char* key, const std::variant<int64_t, std::string>& value) {
  text += std::string("{\"key\":\"") + key + "\",\"value\":{";
  if (const auto* number = std::get_if<int64_t>(&value)) {
    text += "\"intValue\":\"" + std::to_string(*number) + '"';
  } else {
    text += "\"stringValue\":";
    write_string(text, std::get<std::string>(value));
  }
  text += "}}";
}

void write_span(std::string& text, const Span& span) {
  text += '{';
  write_hex(text, "traceId", span.context.trace);
  write_hex(text, "spanId", span.context.span);
  if (!is_zero(span.parent)) write_hex(text, "parentSpanId", span.parent);
  text += "\"flags\":" + std::to_string(kSampled | kHasIsRemote | (span.has_remote ? kIsRemote : 0)) + ",\"name\":";
  write_string(text, span.name);
  text += ",\"kind\":" + std::to_string(static_cast<int>(span.kind)) + ",\"startTimeUnixNano\":\"" +
          std::to_string(span.start_nanos) + "\",\"endTimeUnixNano\":\"" + std::to_string(span.end_nanos) +
          "\",\"attributes\":[";
  for (const auto& [key, value] : span.attributes) {
    if (text.back() == '}') text += ',';
    write_attribute(text, key, value);
  }
  text += ']';
  if (span.is_failed) {
    text += ",\"status\":{\"code\":" + std::to_string(kFailed) + ",\"message\":";
    write_string(text, span.message);
    text += '}';
  }
  text += '}';
}

}  // namespace

bool read_traceparent(std::string_view text, TraceContext& context) {
  std::array<uint8_t, 1> version{}, flags{};
  if (text.size() < kTraceparent || text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
  if (!read_hex(text.substr(0), version) || version[0] == 0xff) return false;
  // A later version may have more fields at the end.
  if (text.size() > kTraceparent && (version[0] == 0 || text[kTraceparent] != '-')) return false;
  TraceContext read;
  if (!read_hex(text.substr(3), read.trace) || is_zero(read.trace)) return false;
  if (!read_hex(text.substr(36), read.span) || is_zero(read.span)) return false;
  if (!read_hex(text.substr(53), flags)) return false;
  read.is_sampled = flags[0] & kSampled;
  context = read;
  return true;
}

SpanId random_span_id() { return random_bytes<8>(); }

std::array<uint8_t, 16> random_trace_id() { return random_bytes<16>(); }

double random_share() { return std::uniform_real_distribution<double>(0, 1)(source()); }

std::string write_spans(const std::vector<Span>& spans, std::string_view server_version) {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  std::string text = "{\"resourceSpans\":[{\"resource\":{\"attributes\":[";
  write_attribute(text, "service.name", std::string("loopwright"));
  text += ',';
  write_attribute(text, "service.version", std::string(server_version));
  text += ',';
  write_attribute(text, "host.name", std::string(host));
  text += "]},\"scopeSpans\":[{\"scope\":{\"name\":\"loopwright.serving\"},\"spans\":[";
  for (size_t i = 0; i < spans.size(); ++i) {
    if (i > 0) text += ',';
    write_span(text, spans[i]);
  }
  return text + "]}]}]}";
}

}  // namespace loopwright::serving::trace
