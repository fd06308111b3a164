// Errors that a caller of the engine can act on. Their kinds are those of gRPC; each protocol has its own codes.
#pragma once

#include <stdexcept>
#include <string>

namespace loopwright::serving {

enum class ErrorKind {
  kInvalidArgument,     // the request is wrong
  kNotFound,            // no such model, version or tensor
  kAlreadyExists,       // a version is immutable
  kFailedPrecondition,  // the request does not fit the state of the model
  kResourceExhausted,   // a queue or a limit is full; later may work
  kDeadlineExceeded,    // the deadline passed before the request was computed
  kCancelled,           // the caller left
  kPermissionDenied,    // no valid token
  kUnavailable,         // not ready, or stopping
  kUnimplemented,       // known, but not offered
  kInternal,            // a runtime failed
};

// Why a request was not computed that could have been at another time, or by a larger server.
enum class Rejection {
  kNone,       // it was computed, or it is wrong
  kQueueFull,  // as many wait as may
  kTooLate,    // those before it in the queue take longer than its deadline
  kExpired,    // its deadline passed in the queue
  kNotReady,   // no version of its model is ready, or its workers ended
  kLimit,      // of its size, or of the memory for all requests
};

// One line: what is wrong and what is possible.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, Rejection rejection = Rejection::kNone)
      : std::runtime_error(message), kind_(kind), rejection_(rejection) {}
  ErrorKind kind() const { return kind_; }
  Rejection rejection() const { return rejection_; }

 private:
  ErrorKind kind_;
  Rejection rejection_;
};

// Returns the name of a kind as in gRPC, such as RESOURCE_EXHAUSTED.
const char* name(ErrorKind kind);
// Returns the name of a reason in the metrics, such as queue_full.
const char* name(Rejection reason);

// Returns the error that was raised: itself if it is an Error, else one of the server.
Error error_of(const std::exception& raised);

// The error of a request or a configuration that is wrong.
inline Error invalid(const std::string& message) { return Error(ErrorKind::kInvalidArgument, message); }

}  // namespace loopwright::serving
