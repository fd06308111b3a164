// Activations and their names.
#pragma once

#include <iterator>
#include <optional>
#include <string>

namespace loopwright {

// kPrelu multiplies negative numbers by the slope of their channel.
enum class Activation { kNone, kRelu, kRelu6, kGelu, kSigmoid, kTanh, kSilu, kHardSwish, kPrelu };

struct NamedActivation {
  const char* name;
  Activation activation;
};

// One line per activation, in the order of the enum.
constexpr NamedActivation kActivations[] = {
    {"none", Activation::kNone},       {"relu", Activation::kRelu},
    {"relu6", Activation::kRelu6},     {"gelu", Activation::kGelu},
    {"sigmoid", Activation::kSigmoid}, {"tanh", Activation::kTanh},
    {"silu", Activation::kSilu},       {"hard_swish", Activation::kHardSwish},
    {"prelu", Activation::kPrelu},
};
constexpr int kActivationCount = static_cast<int>(std::size(kActivations));

// Returns kNone for no text. Throws std::invalid_argument for an unknown name.
Activation parse_activation(const std::optional<std::string>& text);

}  // namespace loopwright
