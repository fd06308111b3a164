// The one grammar of names that come from outside: of models, versions, labels and steps. No name can leave a folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace loopwright::serving {

// Returns a text with '?' for what is not printable ASCII, and spaces for ends of lines: for messages about names and files, which
// may have any bytes.
std::string printable(std::string_view text);
// Returns a text as a value in the log: printable, in double quotes, of which it has none inside.
std::string log_value(std::string_view text);
// Whether a text has digits alone, as versions do and labels must not.
bool is_number(std::string_view text);
// Whether a name has 1 to 128 letters, digits, '_', '-' or '.', and begins with a letter or digit.
bool is_name(std::string_view name);
// Throws Error (kInvalidArgument) unless is_name(name). `what` is in the message, such as "model name".
void check_name(std::string_view name, const char* what);
// Returns the number of a version, at least 1, without leading zeros. Throws Error (kInvalidArgument).
int64_t parse_version(std::string_view text);

}  // namespace loopwright::serving
