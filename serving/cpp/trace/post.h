// One request of HTTP, whose time is limited.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace loopwright::serving::trace {

struct Endpoint {
  std::string host, port, path;
};

// Reads http://HOST:PORT[/PATH]; the path is /v1/traces by default. Throws Error (kInvalidArgument).
Endpoint parse_endpoint(const std::string& url);

// Posts JSON on a new connection, and returns the status of the answer. The time is that of all but the look-up of the host's name.
// Throws std::exception if no answer came.
int post(const Endpoint& endpoint, std::string json, std::chrono::milliseconds time);

}  // namespace loopwright::serving::trace
