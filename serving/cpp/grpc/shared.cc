#include "grpc/shared.h"

#include <algorithm>
#include <iterator>

namespace loopwright::serving::rpc {

namespace {

using grpc::Status;
using grpc::StatusCode;

constexpr std::chrono::seconds kLongest = std::chrono::hours(24 * 365);  // until a deadline

// Whether a status is the server's failure, not the client's.
bool is_failure(StatusCode code) {
  switch (code) {
    case StatusCode::UNKNOWN:
    case StatusCode::DEADLINE_EXCEEDED:
    case StatusCode::UNIMPLEMENTED:
    case StatusCode::INTERNAL:
    case StatusCode::UNAVAILABLE:
    case StatusCode::DATA_LOSS: return true;
    default: return false;
  }
}

}  // namespace

StatusCode code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return StatusCode::INVALID_ARGUMENT;
    case ErrorKind::kNotFound: return StatusCode::NOT_FOUND;
    case ErrorKind::kAlreadyExists: return StatusCode::ALREADY_EXISTS;
    case ErrorKind::kFailedPrecondition: return StatusCode::FAILED_PRECONDITION;
    case ErrorKind::kResourceExhausted: return StatusCode::RESOURCE_EXHAUSTED;
    case ErrorKind::kDeadlineExceeded: return StatusCode::DEADLINE_EXCEEDED;
    case ErrorKind::kCancelled: return StatusCode::CANCELLED;
    case ErrorKind::kPermissionDenied: return StatusCode::PERMISSION_DENIED;
    case ErrorKind::kUnavailable: return StatusCode::UNAVAILABLE;
    case ErrorKind::kUnimplemented: return StatusCode::UNIMPLEMENTED;
    case ErrorKind::kInternal: return StatusCode::INTERNAL;
  }
  return StatusCode::UNKNOWN;
}

Status status_of(const Error& error) { return Status(code_of(error.kind()), error.what()); }

void take_deadline(const grpc::ServerContext& context, Request& request) {
  const gpr_timespec deadline = context.raw_deadline();
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  if (left.tv_sec > kLongest.count()) return;  // or it would not fit the clock
  const auto mine = Clock::now() + std::chrono::seconds(left.tv_sec) + std::chrono::nanoseconds(left.tv_nsec);
  request.deadline = request.deadline ? std::min(*request.deadline, mine) : mine;
}

std::string_view traceparent_of(const grpc::ServerContext& context) {
  const auto [begin, end] = context.client_metadata().equal_range("traceparent");
  if (begin == end || std::next(begin) != end) return {};
  return {begin->second.data(), begin->second.size()};
}

std::shared_ptr<trace::RequestSpan> begin_span(trace::Tracer& tracer, const char* method,
                                               std::string_view traceparent) {
  auto span = tracer.begin(method, traceparent);
  if (!span) return nullptr;
  const std::string_view name(method);
  const size_t slash = name.find('/');
  span->span().set("rpc.system", "grpc");
  span->span().set("rpc.service", name.substr(0, slash));
  span->span().set("rpc.method", name.substr(slash + 1));
  return span;
}

void end_span(trace::RequestSpan& span, StatusCode code) {
  span.span().set("rpc.grpc.status_code", code);
  span.end(is_failure(code));
}

}  // namespace loopwright::serving::rpc
