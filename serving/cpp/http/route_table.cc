#include "http/route_table.h"

#include <algorithm>

namespace loopwright::serving::http {

bool matches(std::string_view pattern, const Path& path) {
  for (const std::string& segment : path) {
    if (pattern == "**") return true;
    const std::string_view part = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(std::min(part.size() + 1, pattern.size()));
    if (part.empty()) return false;  // the path is longer
    const std::string_view end = part.substr(part.front() == '*' ? 1 : 0);
    const bool fits = part.front() != '*' ? segment == part
                                          : segment.size() > end.size() &&
                                                std::string_view(segment).substr(segment.size() - end.size()) == end;
    if (!fits) return false;
  }
  return pattern.empty();
}

}  // namespace loopwright::serving::http
