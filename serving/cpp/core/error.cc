#include "loopwright/serving/error.h"

#include <exception>
#include <new>

namespace loopwright::serving {

const char* name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return "INVALID_ARGUMENT";
    case ErrorKind::kNotFound: return "NOT_FOUND";
    case ErrorKind::kAlreadyExists: return "ALREADY_EXISTS";
    case ErrorKind::kFailedPrecondition: return "FAILED_PRECONDITION";
    case ErrorKind::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case ErrorKind::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case ErrorKind::kCancelled: return "CANCELLED";
    case ErrorKind::kPermissionDenied: return "PERMISSION_DENIED";
    case ErrorKind::kUnavailable: return "UNAVAILABLE";
    case ErrorKind::kUnimplemented: return "UNIMPLEMENTED";
    case ErrorKind::kInternal: return "INTERNAL";
  }
  return "UNKNOWN";
}

Error error_of(const std::exception& raised) {
  if (const auto* error = dynamic_cast<const Error*>(&raised)) return *error;
  if (dynamic_cast<const std::bad_alloc*>(&raised))
    return Error(ErrorKind::kUnavailable, "there is no memory for it now; try later", Rejection::kLimit);
  return Error(ErrorKind::kInternal, raised.what());
}

const char* name(Rejection reason) {
  switch (reason) {
    case Rejection::kNone: return "none";
    case Rejection::kQueueFull: return "queue_full";
    case Rejection::kTooLate: return "too_late";
    case Rejection::kExpired: return "expired";
    case Rejection::kNotReady: return "not_ready";
    case Rejection::kLimit: return "limit";
  }
  return "unknown";
}

}  // namespace loopwright::serving
