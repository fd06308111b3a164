// Shared libraries of users, which may be replaced while the server runs.
#pragma once

#include <string>

namespace loopwright::serving {

// Loads a copy of a shared library, or returns the one that was loaded from the same path with the same content; it stays loaded.
// Throws std::runtime_error.
void* open_copy(const std::string& path);

}  // namespace loopwright::serving
