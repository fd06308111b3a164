#include "core/names.h"

#include <algorithm>
#include <charconv>

#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

constexpr size_t kLongest = 128;

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// Text that may come from an attacker, as a message may contain it.
std::string quoted(std::string_view text) {
  return "'" + printable(text.substr(0, kLongest)) + (text.size() > kLongest ? "...'" : "'");
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c < ' ' || c == 127) c = c == '\n' ? ' ' : '?';  // bytes from 128 on are negative
  return result;
}

std::string log_value(std::string_view text) {
  std::string value = printable(text);
  std::replace(value.begin(), value.end(), '"', '\'');
  return '"' + value + '"';
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongest && is_letter_or_digit(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_letter_or_digit(c) || c == '_' || c == '-' || c == '.'; });
}

void check_name(std::string_view name, const char* what) {
  if (!is_name(name))
    throw Error(ErrorKind::kInvalidArgument, std::string("the ") + what + " " + quoted(name) +
                                                 " must be 1 to 128 letters, digits, '_', '-' or '.', and begin with a "
                                                 "letter or digit");
}

int64_t parse_version(std::string_view text) {
  int64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size() || version < 1 || text.front() == '0')
    throw Error(ErrorKind::kInvalidArgument,
                "the version " + quoted(text) + " must be a number from 1 up, without leading zeros");
  return version;
}

}  // namespace loopwright::serving
