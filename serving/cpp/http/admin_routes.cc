#include <simdjson.h>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <charconv>
#include <map>

#include "core/names.h"
#include "core/upload.h"
#include "http/path.h"
#include "http/route_table.h"
#include "http/routes.h"
#include "protocol/json_values.h"

namespace loopwright::serving::http {
namespace {

using simdjson::dom::object;

constexpr int kThreads = 4;  // loads take seconds

uint64_t offset_of(const Request& request) {
  const std::string_view target(request.target);
  const size_t place = target.find("?offset=");
  if (place == std::string_view::npos) return 0;
  const std::string_view text = target.substr(place + 8);
  uint64_t offset = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), offset);
  if (error != std::errc() || end != text.data() + text.size()) throw invalid("the offset must be a number of bytes");
  return offset;
}

// The body of a request as a JSON object; an empty body is an empty object.
class Body {
 public:
  explicit Body(const Request& request) {
    const std::string text = request.body->empty() ? "{}" : *request.body;
    simdjson::dom::element root;
    if (parser_.parse(text).get(root) || root.get(object_)) throw invalid("the body must be a JSON object");
  }
  const object& get() const { return object_; }
  std::optional<int64_t> integer(const char* key) const {
    simdjson::dom::element found;
    if (object_[key].get(found)) return std::nullopt;
    int64_t value;
    if (found.get(value)) throw invalid(std::string("\"") + key + "\" must be a number");
    return value;
  }
  std::optional<double> number(const char* key) const {
    simdjson::dom::element found;
    if (object_[key].get(found)) return std::nullopt;
    double value;
    if (found.get(value)) throw invalid(std::string("\"") + key + "\" must be a number");
    return value;
  }

 private:
  simdjson::dom::parser parser_;
  object object_;
};

std::map<std::string, std::string> digests_of(const Request& request) {
  const Body body(request);
  object files;
  if (body.get()["files"].get(files)) throw invalid("\"files\" must be an object of SHA-256 digests by path");
  std::map<std::string, std::string> digests;
  for (const auto& [path, value] : files) {
    std::string_view digest;
    if (value.get(digest) || digest.size() != 64 ||
        digest.find_first_not_of("0123456789abcdef") != std::string_view::npos)
      throw invalid("the digest of " + std::string(path) + " must be 64 hexadecimal digits");
    digests.emplace(std::string(path), std::string(digest));
  }
  return digests;
}

std::string joined(const Path& parts, size_t from) {
  std::string path;
  for (size_t i = from; i < parts.size(); ++i) path += (i > from ? "/" : "") + parts[i];
  return path;
}

}  // namespace

class AdminRoutes::Admin {
 public:
  Admin(Engine& engine, std::string repository) : engine_(engine), uploads_(std::move(repository), {}) {}

  // Where a route is served. Loads and files wait: files come while all threads for loads are busy, and labels change at once.
  enum class Threads { kCaller, kLoads, kFiles };
  struct Route {
    const char* method;
    const char* pattern;
    std::string (Admin::*serve)(const Request&, const Path&) const;  // returns the JSON of the answer
    Threads threads;
  };

  // Throws Error.
  static const Route& route_of(const std::string& method, const Path& path) {
    static constexpr Route kRoutes[] = {
        {"POST", "v2/repository/models/*/load", &Admin::load, Threads::kLoads},
        {"POST", "v2/repository/models/*/unload", &Admin::unload, Threads::kLoads},
        {"GET", "v2/models/*/labels", &Admin::labels, Threads::kCaller},
        {"POST", "v2/models/*/labels/*", &Admin::promote, Threads::kCaller},
        {"DELETE", "v2/models/*/labels/*", &Admin::remove_label, Threads::kCaller},
        {"POST", "v2/models/*/labels/*/rollback", &Admin::roll_back, Threads::kCaller},
        {"PUT", "v2/models/*/versions/*/files/**", &Admin::append, Threads::kFiles},
        {"POST", "v2/models/*/versions/*", &Admin::commit, Threads::kFiles},
        {"DELETE", "v2/models/*/versions/*", &Admin::discard, Threads::kFiles},
    };
    return find_route(kRoutes, method, path);
  }

  Response answer(const Route& route, const Request& request, const Path& path) const {
    Response response;
    try {
      response.text = (this->*route.serve)(request, path);
    } catch (const Error& error) {
      response = error_response(error);
    } catch (const std::exception& error) {
      response = error_response(Error(ErrorKind::kInternal, error.what()));
    }
    return response;
  }

 private:
  std::string load(const Request& request, const Path& path) const {
    const Body body(request);
    object parameters;
    // Those of Triton override the configuration, or bring files.
    if (!body.get()["parameters"].get(parameters) && parameters.size() > 0)
      throw invalid("a load has no parameters, got \"" + printable((*parameters.begin()).key) +
                    "\"; change config.toml of the model, and then load it");
    engine_.load(path[3]);
    return "{}";
  }
  std::string unload(const Request&, const Path& path) const {
    engine_.unload(path[3]);
    return "{}";
  }

  // Labels as JSON, which is also the answer to a change of one.
  std::string labels(const Request&, const Path& path) const {
    std::string text = "{\"labels\":{";
    for (const LabelEntry& entry : engine_.labels(path[2])) {
      if (text.back() == '}') text += ',';
      write_string(text, entry.label);
      char percent[32];
      *std::to_chars(percent, percent + sizeof(percent) - 1, entry.percent).ptr = '\0';
      text += ":{\"version\":" + std::to_string(entry.version) + ",\"percent\":" + percent +
              ",\"previous\":" + (entry.previous > 0 ? std::to_string(entry.previous) : "null") + "}";
    }
    return text + "}}";
  }

  std::string promote(const Request& request, const Path& path) const {
    const Body body(request);
    const auto version = body.integer("version");
    if (!version || *version < 1) throw invalid("\"version\" must be a number from 1 up");
    engine_.promote(path[2], path[4], *version, body.number("percent").value_or(0));
    return labels(request, path);
  }
  std::string remove_label(const Request& request, const Path& path) const {
    engine_.remove_label(path[2], path[4]);
    return labels(request, path);
  }
  std::string roll_back(const Request& request, const Path& path) const {
    engine_.roll_back(path[2], path[4]);
    return labels(request, path);
  }

  std::string append(const Request& request, const Path& path) const {
    uploads_.append(path[2], parse_version(path[4]), joined(path, 6), offset_of(request), *request.body);
    return "{}";
  }
  std::string discard(const Request&, const Path& path) const {
    uploads_.discard(path[2], parse_version(path[4]));
    return "{}";
  }
  std::string commit(const Request& request, const Path& path) const {
    const std::string& model = path[2];
    const int64_t number = parse_version(path[4]);
    uploads_.commit(model, number, digests_of(request));
    engine_.refresh(model);
    std::string text = "{\"state\":";
    for (const IndexEntry& entry : engine_.index())
      if (entry.model == model && entry.version == number) {
        text += std::string("\"") + name(entry.state) + "\",\"failed\":" + (entry.is_failed ? "true" : "false") +
                ",\"reason\":";
        write_string(text, entry.reason);
        return text + "}";
      }
    return "{}";
  }

  Engine& engine_;
  const Uploads uploads_;
};

struct AdminRoutes::State {
  State(Engine& engine, std::string repository) : admin(engine, std::move(repository)) {}
  const Admin admin;
  boost::asio::thread_pool loads{kThreads}, files{kThreads};
};

AdminRoutes::AdminRoutes(Engine& engine, std::string repository)
    : state_(std::make_unique<State>(engine, std::move(repository))) {}

AdminRoutes::~AdminRoutes() {
  state_->loads.join();
  state_->files.join();
}

Handler AdminRoutes::handler() {
  return [state = state_.get()](Request request, Respond respond) {
    using Threads = Admin::Threads;
    Path path;
    const Admin::Route* route;
    try {
      path = segments(request.target);
      route = &Admin::route_of(request.method, path);
    } catch (const Error& error) {
      return respond(error_response(error));
    }
    auto serve = [state, route, path = std::move(path), request = std::move(request), respond = std::move(respond)] {
      respond(state->admin.answer(*route, request, path));
    };
    if (route->threads == Threads::kCaller) return serve();
    boost::asio::post(route->threads == Threads::kLoads ? state->loads : state->files, std::move(serve));
  };
}

}  // namespace loopwright::serving::http
