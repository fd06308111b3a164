#include "loopwright/activation.h"

#include <map>
#include <stdexcept>

namespace loopwright {
namespace {

const std::map<std::string, Activation> kActivations = {
    {"relu", Activation::kRelu},           {"relu6", Activation::kRelu6}, {"gelu", Activation::kGelu},
    {"sigmoid", Activation::kSigmoid},     {"tanh", Activation::kTanh},   {"silu", Activation::kSilu},
    {"hard_swish", Activation::kHardSwish}};

}  // namespace

Activation parse_activation(const std::optional<std::string>& text) {
  if (!text || *text == "none") return Activation::kNone;
  const auto found = kActivations.find(*text);
  if (found != kActivations.end()) return found->second;
  std::string known = "none";
  for (const auto& entry : kActivations) known += ", " + entry.first;
  throw std::invalid_argument("unknown activation '" + *text + "'; choose from: " + known);
}

}  // namespace loopwright
