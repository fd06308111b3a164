#include <simdjson.h>

#include <charconv>

#include "http/path.h"
#include "http/route_table.h"
#include "http/routes.h"
#include "protocol/extensions.h"
#include "protocol/json_values.h"
#include "protocol/tf_predict.h"
#include "protocol/v2.h"
#include "trace/tracer.h"

namespace loopwright::serving::http {
namespace {

constexpr std::string_view kJsonBytes = "Inference-Header-Content-Length";

int status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return 400;
    case ErrorKind::kNotFound: return 404;
    case ErrorKind::kAlreadyExists: return 409;
    case ErrorKind::kFailedPrecondition: return 400;
    case ErrorKind::kResourceExhausted: return 429;
    case ErrorKind::kDeadlineExceeded: return 504;
    case ErrorKind::kCancelled: return 499;
    case ErrorKind::kPermissionDenied: return 401;
    case ErrorKind::kUnavailable: return 503;
    case ErrorKind::kUnimplemented: return 400;  // the client's choice, not the server's failure
    case ErrorKind::kInternal: return 500;
  }
  return 500;
}

Response json(std::string text) {
  Response response;
  response.text = std::move(text);
  return response;
}

// The state of the server or a model, which the status has too.
Response state(const char* key, bool value, std::string text = "{") {
  Response response = json(text + '"' + key + (value ? "\":true}" : "\":false}"));
  response.status = value ? 200 : 503;
  return response;
}

Response model_state(const std::string& model, bool is_ready) {
  std::string text = "{\"name\":";
  write_string(text, model);
  return state("ready", is_ready, text + ",");
}

size_t json_bytes(const Request& request) {
  const std::string_view text = request.header(kJsonBytes);
  if (text.empty()) return 0;
  size_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (error != std::errc() || end != text.data() + text.size() || bytes == 0)
    throw Error(ErrorKind::kInvalidArgument, std::string(kJsonBytes) + " must be a number from 1 up");
  return bytes;
}

Response inference_response(const loopwright::serving::Response& outputs, const v2::Form& form) {
  v2::Pieces pieces = v2::write_response(outputs, form);
  Response response = json(std::move(pieces.json));
  if (!pieces.binary.empty()) {
    response.type = "application/octet-stream";
    response.headers.emplace_back(kJsonBytes, std::to_string(response.text.size()));
    response.binary = std::move(pieces.binary);
  }
  return response;
}

// Whether the body of POST v2/repository/index is {"ready": true}.
bool only_ready(const Request& request) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  simdjson::dom::element found;
  bool ready = false;
  if (request.body->empty()) return false;
  if (parser.parse(*request.body).get(object)) throw invalid("the body must be empty or a JSON object");
  if (object["ready"].get(found)) return false;
  if (found.get(ready)) throw invalid("\"ready\" must be a boolean");
  return ready;
}

// A request on its way to a function of the table.
struct Call {
  Engine& engine;
  SharedMemory& memory;
  const std::string& server;  // its version
  const Request& request;
  const Path& path;
  const std::shared_ptr<trace::RequestSpan>& span;  // null: it is not traced
  const Respond& respond;

  // Of v2/models/NAME[/versions/VERSION]...
  const std::string& model() const { return path[2]; }
  std::string version() const { return path.size() > 4 ? path[4] : ""; }
  // Of v2/systemsharedmemory[/region/NAME]/...
  std::string region() const { return path.size() > 3 ? path[3] : ""; }

  // Runs a model. Calls `write(result)` for the response.
  template <class Write>
  void run(loopwright::serving::Request wanted, Write write) const {
    wanted.cancelled = request.cancelled;
    if (span) wanted.trace = span->context();
    engine.infer(std::move(wanted), [write = std::move(write), span = span, respond = respond](const Result& result) {
      if (span) span->note(result);
      Response response;
      try {
        response = result.error ? error_response(*result.error) : write(result.response);
      } catch (const std::exception& raised) {  // such as an output that does not fit its shared memory
        response = error_response(error_of(raised));
      }
      respond(std::move(response));
    });
  }
};

void describe_server(const Call& call) {
  call.respond(json(v2::write_server(call.server, extensions(call.memory.is_allowed()))));
}
void live(const Call& call) { call.respond(state("live", true)); }
void ready(const Call& call) { call.respond(state("ready", call.engine.is_ready())); }
void index(const Call& call) { call.respond(json(v2::write_index(call.engine.index(), only_ready(call.request)))); }
void all_statistics(const Call& call) { call.respond(json(v2::write_statistics(call.engine.statistics()))); }

void describe(const Call& call) {
  call.respond(json(v2::write_metadata(call.engine.metadata(call.model(), call.version()))));
}
void model_ready(const Call& call) {
  call.respond(model_state(call.model(), call.engine.is_ready(call.model(), call.version())));
}
void config(const Call& call) {
  call.respond(json(v2::write_config(call.engine.metadata(call.model(), call.version()))));
}
void statistics(const Call& call) {
  call.respond(json(v2::write_statistics(call.engine.statistics(call.model(), call.version()))));
}

void infer(const Call& call) {
  const std::string_view coding = call.request.header("Content-Encoding");
  if (!coding.empty() && coding != "identity")
    throw Error(ErrorKind::kUnimplemented,
                "compressed requests are not accepted; send the body without Content-Encoding");
  v2::ParsedRequest parsed = v2::parse_request(call.request.body, json_bytes(call.request), call.memory);
  parsed.request.model = call.model();
  parsed.request.version = call.version();
  call.run(std::move(parsed.request), [form = std::move(parsed.form)](const loopwright::serving::Response& response) {
    return inference_response(response, form);
  });
}

void regions(const Call& call) { call.respond(json(v2::write_regions(call.memory.regions(call.region())))); }
void register_one(const Call& call) {
  register_region(call.memory, call.region(), *call.request.body);
  call.respond(json("{}"));
}
void unregister(const Call& call) {
  call.memory.remove(call.region());
  call.respond(json("{}"));
}

// v1/models/NAME[/versions/V | /labels/L]:predict
void predict(const Call& call) {
  std::string model = call.path[2], version;
  std::string& last = call.path.size() > 4 ? version : model;
  last = call.path.back().substr(0, call.path.back().rfind(':'));
  const ModelMetadata metadata = call.engine.metadata(model, version);
  tf::ParsedRequest parsed = tf::parse_request(call.request.body, metadata.inputs);
  parsed.request.model = model;
  parsed.request.version = std::to_string(metadata.version);  // the one whose inputs were read
  call.run(std::move(parsed.request), [by_rows = parsed.by_rows](const loopwright::serving::Response& response) {
    return json(tf::write_response(response, by_rows));
  });
}
void versions(const Call& call) { call.respond(json(tf::write_status(call.path[2], call.engine.index()))); }

// Begins the span of a request; null if it is not traced.
std::shared_ptr<trace::RequestSpan> begin_span(trace::Tracer& tracer, const char* name, const Request& request) {
  auto span = tracer.begin(name, request.only_header("traceparent"));
  if (!span) return nullptr;
  span->span().set("network.protocol.name", "http");
  span->span().set("http.request.method", request.method);
  span->span().set("url.path", std::string_view(request.target).substr(0, request.target.find('?')));
  return span;
}

struct Route {
  const char* method;
  const char* pattern;
  void (*serve)(const Call&);
  const char* span = nullptr;  // the name of the requests' spans; null: they are not traced
};

constexpr Route kRoutes[] = {
    {"POST", "v2/models/*/infer", infer, "POST /v2/models/{model}/infer"},
    {"POST", "v2/models/*/versions/*/infer", infer, "POST /v2/models/{model}/versions/{version}/infer"},
    {"GET", "v2", describe_server},
    {"GET", "v2/health/live", live},
    {"GET", "v2/health/ready", ready},
    {"POST", "v2/repository/index", index},
    {"GET", "v2/repository/index", index},
    {"GET", "v2/models/stats", all_statistics},
    {"GET", "v2/models/*", describe},
    {"GET", "v2/models/*/versions/*", describe},
    {"GET", "v2/models/*/ready", model_ready},
    {"GET", "v2/models/*/versions/*/ready", model_ready},
    {"GET", "v2/models/*/config", config},
    {"GET", "v2/models/*/versions/*/config", config},
    {"GET", "v2/models/*/stats", statistics},
    {"GET", "v2/models/*/versions/*/stats", statistics},
    {"GET", "v2/systemsharedmemory/status", regions},
    {"GET", "v2/systemsharedmemory/region/*/status", regions},
    {"POST", "v2/systemsharedmemory/region/*/register", register_one},
    {"POST", "v2/systemsharedmemory/unregister", unregister},
    {"POST", "v2/systemsharedmemory/region/*/unregister", unregister},
    {"POST", "v1/models/*:predict", predict, "POST /v1/models/{model}:predict"},
    {"POST", "v1/models/*/versions/*:predict", predict, "POST /v1/models/{model}/versions/{version}:predict"},
    {"POST", "v1/models/*/labels/*:predict", predict, "POST /v1/models/{model}/labels/{label}:predict"},
    {"GET", "v1/models/*", versions},
};

}  // namespace

Response error_response(const Error& error) {
  Response response = json(v2::write_error(error.what()));
  response.status = status_of(error.kind());
  response.rejection = error.rejection();
  if (const auto* wrong = dynamic_cast<const MethodError*>(&error)) {
    response.status = 405;
    response.headers.emplace_back("Allow", wrong->allowed());
  }
  return response;
}

Handler inference_routes(Engine& engine, SharedMemory& memory, trace::Tracer* tracer, std::string version) {
  return [&engine, &memory, tracer, version = std::move(version)](const Request& request, const Respond& respond) {
    Respond traced;  // responds and ends the span; empty if the request is not traced
    const auto answer = [&]() -> const Respond& { return traced ? traced : respond; };
    try {
      const Path path = segments(request.target);
      const Route& route = find_route(kRoutes, request.method, path);
      const auto span = tracer && route.span ? begin_span(*tracer, route.span, request) : nullptr;
      if (span)
        traced = [span, respond](Response response) {
          span->span().set("http.response.status_code", response.status);
          span->end(response.status >= 500);
          respond(std::move(response));
        };
      route.serve({engine, memory, version, request, path, span, answer()});
    } catch (const Error& error) {
      answer()(error_response(error));
    } catch (const std::exception& error) {
      answer()(error_response(Error(ErrorKind::kInternal, error.what())));
    }
  };
}

}  // namespace loopwright::serving::http
