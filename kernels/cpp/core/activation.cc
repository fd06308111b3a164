#include "loopwright/activation.h"

#include <stdexcept>

#include "loopwright/layer_epilogue.h"

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

void check_epilogue(const LayerEpilogue& epilogue) {
  const bool needed = epilogue.activation == Activation::kPrelu;
  if (needed == (epilogue.slopes != nullptr)) return;
  throw std::invalid_argument(needed ? "activation prelu needs slopes" : "slopes are for activation prelu alone");
}

}  // namespace loopwright
