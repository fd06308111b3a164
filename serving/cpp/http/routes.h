// What the paths of the server mean.
#pragma once

#include <string>

#include "http/server.h"
#include "loopwright/serving/engine.h"

namespace loopwright::serving::http {

// The protocol, on the port that clients use.
Handler inference_routes(Engine& engine, std::string version);
// The status page and /metrics.
Handler metrics_routes(Engine& engine);
// Loading, promotion and upload. `token` must be in the header Authorization: Bearer TOKEN.
Handler admin_routes(Engine& engine, std::string repository, std::string token);

// Returns the response for an error.
Response error_response(const Error& error);

}  // namespace loopwright::serving::http
