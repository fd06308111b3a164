// Activations by their names.
#pragma once

#include <optional>
#include <string>

#include "loopwright/brgemm.h"

namespace loopwright {

// None and "none" are no activation. Throws std::invalid_argument for a name that no activation has.
Activation parse_activation(const std::optional<std::string>& text);

}  // namespace loopwright
