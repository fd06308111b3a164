#include "http/path.h"

#include <charconv>

#include "loopwright/serving/error.h"

namespace loopwright::serving::http {
namespace {

std::string decoded(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    unsigned byte = 0;
    const char* end = text.data() + std::min(i + 3, text.size());
    if (std::from_chars(text.data() + i + 1, end, byte, 16).ptr != text.data() + i + 3)
      throw Error(ErrorKind::kInvalidArgument, "the path has an escape that is not valid");
    result += static_cast<char>(byte);
    i += 2;
  }
  return result;
}

}  // namespace

std::vector<std::string> segments(std::string_view target) {
  std::string_view path = target.substr(0, target.find_first_of("?#"));
  std::vector<std::string> result;
  while (!path.empty()) {
    path.remove_prefix(path.front() == '/' ? 1 : 0);
    const size_t end = path.find('/');
    const std::string_view segment = path.substr(0, end);
    if (!segment.empty()) result.push_back(decoded(segment));
    path.remove_prefix(end == std::string_view::npos ? path.size() : end);
  }
  return result;
}

}  // namespace loopwright::serving::http
