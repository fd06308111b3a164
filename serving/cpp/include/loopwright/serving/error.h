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

// One line: what is wrong and what is possible.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Returns the name of a kind as in gRPC, such as RESOURCE_EXHAUSTED.
const char* name(ErrorKind kind);

// The error of a request or a configuration that is wrong.
inline Error invalid(const std::string& message) { return Error(ErrorKind::kInvalidArgument, message); }

}  // namespace loopwright::serving
