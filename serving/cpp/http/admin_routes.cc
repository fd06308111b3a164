#include <simdjson.h>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <charconv>
#include <map>

#include "core/names.h"
#include "core/upload.h"
#include "http/path.h"
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

std::string joined(const std::vector<std::string>& parts, size_t from) {
  std::string path;
  for (size_t i = from; i < parts.size(); ++i) path += (i > from ? "/" : "") + parts[i];
  return path;
}

}  // namespace

class AdminRoutes::Admin {
 public:
  Admin(Engine& engine, std::string repository) : engine_(engine), uploads_(std::move(repository), {}) {}

  // Returns the JSON of the answer.
  std::string handle(const Request& request) const {
    const auto path = segments(request.target);
    if (path.size() == 5 && path[0] == "v2" && path[1] == "repository" && path[2] == "models" &&
        request.method == "POST") {
      if (path[4] == "load") engine_.load(path[3]);
      if (path[4] == "unload") engine_.unload(path[3]);
      if (path[4] == "load" || path[4] == "unload") return "{}";
    }
    if (path.size() >= 4 && path[0] == "v2" && path[1] == "models" && path[3] == "labels") return label(request, path);
    if (path.size() >= 5 && path[0] == "v2" && path[1] == "models" && path[3] == "versions")
      return version(request, path);
    throw Error(ErrorKind::kNotFound, "there is no " + request.method + " of this path; see docs/serving.md");
  }

  Response answer(const Request& request) const {
    Response response;
    try {
      response.text = handle(request);
    } catch (const Error& error) {
      response = error_response(error);
    } catch (const std::exception& error) {
      response = error_response(Error(ErrorKind::kInternal, error.what()));
    }
    return response;
  }

 private:
  // Labels as JSON.
  std::string labels(const std::string& model) const {
    std::string text = "{\"labels\":{";
    for (const LabelEntry& entry : engine_.labels(model)) {
      if (text.back() == '}') text += ',';
      write_string(text, entry.label);
      char percent[32];
      *std::to_chars(percent, percent + sizeof(percent) - 1, entry.percent).ptr = '\0';
      text += ":{\"version\":" + std::to_string(entry.version) + ",\"percent\":" + percent +
              ",\"previous\":" + (entry.previous > 0 ? std::to_string(entry.previous) : "null") + "}";
    }
    return text + "}}";
  }

  std::string label(const Request& request, const std::vector<std::string>& path) const {
    const std::string& model = path[2];
    if (request.method == "POST" && path.size() == 6 && path[5] == "rollback") {
      engine_.roll_back(model, path[4]);
    } else if (request.method == "POST" && path.size() == 5) {
      const Body body(request);
      const auto version = body.integer("version");
      if (!version || *version < 1) throw invalid("\"version\" must be a number from 1 up");
      engine_.promote(model, path[4], *version, body.number("percent").value_or(0));
    } else if (request.method == "DELETE" && path.size() == 5) {
      engine_.remove_label(model, path[4]);
    } else if (request.method != "GET" || path.size() != 4) {
      throw Error(ErrorKind::kNotFound, "labels take GET; a label takes POST and DELETE, and POST of its rollback");
    }
    return labels(model);
  }

  std::string version(const Request& request, const std::vector<std::string>& path) const {
    const std::string& model = path[2];
    const int64_t number = parse_version(path[4]);
    if (request.method == "PUT" && path.size() >= 7 && path[5] == "files") {
      uploads_.append(model, number, joined(path, 6), offset_of(request), *request.body);
      return "{}";
    }
    if (request.method == "DELETE" && path.size() == 5) {
      uploads_.discard(model, number);
      return "{}";
    }
    if (request.method != "POST" || path.size() != 5)
      throw Error(ErrorKind::kNotFound, "a version takes PUT of its files, then POST of their digests");
    uploads_.commit(model, number, digests_of(request));
    engine_.refresh(model);
    std::string text = "{\"state\":";
    for (const IndexEntry& entry : engine_.index())
      if (entry.model == model && entry.version == number) {
        text += std::string("\"") + name(entry.state) + "\",\"reason\":";
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
    // Labels change at once, and files come while all threads for loads wait.
    if (request.target.find("/labels/") != std::string::npos) return respond(state->admin.answer(request));
    const bool is_load = request.target.find("/repository/") != std::string::npos;
    boost::asio::post(
        is_load ? state->loads : state->files,
        [state, request = std::move(request), respond = std::move(respond)] { respond(state->admin.answer(request)); });
  };
}

}  // namespace loopwright::serving::http
