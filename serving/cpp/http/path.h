// Paths of requests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace loopwright::serving::http {

// Returns the segments of a target's path, decoded: {"v2", "models", "m"} of "/v2/models/m?x=1". Throws Error
// (kInvalidArgument) if an escape is not valid.
std::vector<std::string> segments(std::string_view target);

}  // namespace loopwright::serving::http
