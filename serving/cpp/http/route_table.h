// Tables of the functions that serve paths.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "loopwright/serving/error.h"

namespace loopwright::serving::http {

using Path = std::vector<std::string>;

// A path that takes other methods than the request's.
class MethodError : public Error {
 public:
  MethodError(const std::string& method, const std::string& allowed)
      : Error(ErrorKind::kUnimplemented, "this path takes " + allowed + ", not " + method), allowed_(allowed) {}
  // The value of the header Allow.
  const std::string& allowed() const { return allowed_; }

 private:
  const std::string allowed_;
};

// Whether a path has the form of a pattern such as "v2/models/*/infer": "*" is any segment, "*:predict" one that ends so, and "**"
// at the end is one segment or more.
bool matches(std::string_view pattern, const Path& path);

// Returns the route of a path and a method; one of GET serves HEAD, too. A route has the members `method` and `pattern`. The first
// pattern that fits counts. Throws Error (kNotFound) or MethodError.
template <class Route, size_t count>
const Route& find_route(const Route (&routes)[count], const std::string& method, const Path& path) {
  std::string_view pattern;
  std::string allowed;
  for (const Route& route : routes) {
    const std::string_view own(route.pattern), serves(route.method);
    if (pattern.empty() ? !matches(own, path) : own != pattern) continue;
    pattern = own;
    if (serves == method || (serves == "GET" && method == "HEAD")) return route;
    allowed += (allowed.empty() ? "" : ", ") + std::string(serves) + (serves == "GET" ? ", HEAD" : "");
  }
  if (allowed.empty()) throw Error(ErrorKind::kNotFound, "there is no such path; see docs/serving.md");
  throw MethodError(method, allowed);
}

}  // namespace loopwright::serving::http
