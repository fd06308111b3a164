// What the paths of the server mean.
#pragma once

#include <memory>
#include <string>

#include "http/server.h"
#include "loopwright/serving/engine.h"
#include "protocol/rejections.h"
#include "protocol/shared_memory.h"

namespace loopwright::serving::trace {
class Tracer;
}

namespace loopwright::serving::http {

// The protocol, on the port that clients use. Without a tracer (null), nothing is traced.
Handler inference_routes(Engine& engine, SharedMemory& memory, trace::Tracer* tracer, std::string version);
// Registers the region that a body of JSON describes. Throws Error.
void register_region(SharedMemory& memory, const std::string& name, const std::string& body);
// The status page and /metrics.
Handler metrics_routes(Engine& engine, const Rejections& rejections, const trace::Tracer* tracer);
// Loading, promotion and upload, which wait on own threads. Outlives the server that has its handler.
class AdminRoutes {
 public:
  AdminRoutes(Engine& engine, std::string repository);
  // Waits for what has begun.
  ~AdminRoutes();
  AdminRoutes(const AdminRoutes&) = delete;
  AdminRoutes& operator=(const AdminRoutes&) = delete;

  Handler handler();

 private:
  class Admin;
  struct State;
  std::unique_ptr<State> state_;
};

// Returns the response for an error.
Response error_response(const Error& error);

}  // namespace loopwright::serving::http
