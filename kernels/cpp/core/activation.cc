#include "loopwright/activation.h"

#include <stdexcept>

namespace loopwright {

Activation parse_activation(const std::optional<std::string>& text) {
  if (!text) return Activation::kNone;
  std::string known;
  for (const auto& [name, activation] : kActivations) {
    if (*text == name) return activation;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  throw std::invalid_argument("unknown activation '" + *text + "'; choose from: " + known);
}

}  // namespace loopwright
