#include <simdjson.h>

#include <charconv>

#include "http/path.h"
#include "http/routes.h"
#include "protocol/extensions.h"
#include "protocol/json_values.h"
#include "protocol/tf_predict.h"
#include "protocol/v2.h"

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

Response inference_response(const Result& result, const v2::Form& form) {
  if (result.error) return error_response(*result.error);
  v2::Pieces pieces = v2::write_response(result.response, form);
  Response response = json(std::move(pieces.json));
  if (!pieces.binary.empty()) {
    response.type = "application/octet-stream";
    response.headers.emplace_back(kJsonBytes, std::to_string(response.text.size()));
    response.binary = std::move(pieces.binary);
  }
  return response;
}

void infer(Engine& engine, const SharedMemory& memory, const Request& request, const std::string& model,
           const std::string& version, const Respond& respond) {
  if (!request.header("Content-Encoding").empty() && request.header("Content-Encoding") != "identity")
    throw Error(ErrorKind::kUnimplemented,
                "compressed requests are not accepted; send the body without Content-Encoding");
  v2::ParsedRequest parsed = v2::parse_request(request.body, json_bytes(request), memory);
  parsed.request.model = model;
  parsed.request.version = version;
  parsed.request.cancelled = request.cancelled;
  engine.infer(std::move(parsed.request), [form = std::move(parsed.form), respond](const Result& result) {
    Response response;
    try {
      response = inference_response(result, form);
    } catch (const Error& error) {  // such as an output that does not fit its shared memory
      response = error_response(error);
    }
    respond(std::move(response));
  });
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

using Path = std::vector<std::string>;

Error no_such_path(const Request& request) {
  return Error(ErrorKind::kNotFound, "there is no " + request.method + " of this path; see docs/serving.md");
}

// What follows v2/models/NAME[/versions/VERSION].
void of_model(Engine& engine, const SharedMemory& memory, const Request& request, Path rest, const Respond& respond) {
  const bool get = request.method == "GET" || request.method == "HEAD", post = request.method == "POST";
  const std::string model = rest[0];
  rest.erase(rest.begin());
  std::string version;
  if (rest.size() >= 2 && rest[0] == "versions") {
    version = rest[1];
    rest.erase(rest.begin(), rest.begin() + 2);
  }
  const std::string what = rest.empty() ? "" : rest[0];
  if (rest.size() <= 1) {
    if (post && what == "infer") return infer(engine, memory, request, model, version, respond);
    if (get && what.empty()) return respond(json(v2::write_metadata(engine.metadata(model, version))));
    if (get && what == "ready") return respond(model_state(model, engine.is_ready(model, version)));
    if (get && what == "config") return respond(json(v2::write_config(engine.metadata(model, version))));
    if (get && what == "stats") return respond(json(v2::write_statistics(engine.statistics(model, version))));
  }
  throw no_such_path(request);
}

// What follows v1/models/: NAME[/versions/V | /labels/L]:predict, and GET of NAME.
void of_tensorflow(Engine& engine, const Request& request, const Path& rest, const Respond& respond) {
  const std::string model = rest.front().substr(0, rest.front().find(':'));
  if (request.method == "GET" && rest.size() == 1) return respond(json(tf::write_status(model, engine.index())));
  const bool is_named = rest.size() == 3 && (rest[1] == "versions" || rest[1] == "labels");
  const std::string& last = rest.back();
  const size_t colon = last.find(':');
  if (request.method != "POST" || (rest.size() != 1 && !is_named) || colon == std::string::npos ||
      last.substr(colon) != ":predict")
    throw no_such_path(request);
  const std::string version = is_named ? last.substr(0, colon) : "";
  const ModelMetadata metadata = engine.metadata(model, version);
  tf::ParsedRequest parsed = tf::parse_request(request.body, metadata.inputs);
  parsed.request.model = model;
  parsed.request.version = std::to_string(metadata.version);  // the one whose inputs were read
  parsed.request.cancelled = request.cancelled;
  engine.infer(std::move(parsed.request), [by_rows = parsed.by_rows, respond](Result result) {
    try {
      respond(result.error ? error_response(*result.error) : json(tf::write_response(result.response, by_rows)));
    } catch (const Error& error) {
      respond(error_response(error));
    }
  });
}

// What follows v2/systemsharedmemory: [region/NAME/]status, register or unregister.
void of_shared_memory(SharedMemory& memory, const Request& request, const Path& rest, const Respond& respond) {
  const bool get = request.method == "GET" || request.method == "HEAD", post = request.method == "POST";
  const bool is_named = rest.size() == 3 && rest[0] == "region";
  if (rest.size() != 1 && !is_named) throw no_such_path(request);
  const std::string name = is_named ? rest[1] : "", what = rest.back();
  if (get && what == "status") return respond(json(v2::write_regions(memory.regions(name))));
  if (post && what == "unregister") {
    memory.remove(name);
    return respond(json("{}"));
  }
  if (!post || !is_named || what != "register") throw no_such_path(request);
  register_region(memory, name, *request.body);
  respond(json("{}"));
}

void route(Engine& engine, SharedMemory& memory, const std::string& server, const Request& request,
           const Respond& respond) {
  const Path path = segments(request.target);
  const bool get = request.method == "GET" || request.method == "HEAD", post = request.method == "POST";
  if (path.size() >= 3 && path[0] == "v1" && path[1] == "models")
    return of_tensorflow(engine, request, Path(path.begin() + 2, path.end()), respond);
  if (path.empty() || path[0] != "v2") throw no_such_path(request);
  if (path.size() == 1 && get) return respond(json(v2::write_server(server, extensions(memory.is_allowed()))));
  if (path.size() == 3 && path[1] == "health" && get) {
    if (path[2] == "live") return respond(state("live", true));
    if (path[2] == "ready") return respond(state("ready", engine.is_ready()));
  }
  if (path.size() == 3 && path[1] == "repository" && path[2] == "index" && (post || get))
    return respond(json(v2::write_index(engine.index(), only_ready(request))));
  if (path.size() == 3 && path[1] == "models" && path[2] == "stats" && get)
    return respond(json(v2::write_statistics(engine.statistics())));
  if (path.size() >= 3 && path[1] == "models")
    return of_model(engine, memory, request, Path(path.begin() + 2, path.end()), respond);
  if (path.size() >= 3 && path[1] == "systemsharedmemory")
    return of_shared_memory(memory, request, Path(path.begin() + 2, path.end()), respond);
  throw no_such_path(request);
}

}  // namespace

Response error_response(const Error& error) {
  Response response = json(v2::write_error(error.what()));
  response.status = status_of(error.kind());
  return response;
}

Handler inference_routes(Engine& engine, SharedMemory& memory, std::string version) {
  return [&engine, &memory, version = std::move(version)](Request request, Respond respond) {
    try {
      route(engine, memory, version, request, respond);
    } catch (const Error& error) {
      respond(error_response(error));
    } catch (const std::exception& error) {
      respond(error_response(Error(ErrorKind::kInternal, error.what())));
    }
  };
}

}  // namespace loopwright::serving::http
