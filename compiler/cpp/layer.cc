#include "layer.h"

#include <map>

#include "description.h"

namespace loopwright {

// CMake lists the files of layers/ here, one LOOPWRIGHT_LAYER(NAME) each.
#define LOOPWRIGHT_LAYER(name) std::unique_ptr<const Layer> make_##name(const Description&, const Machine&);
#include "layer_kinds.inc"
#undef LOOPWRIGHT_LAYER

namespace {

using Maker = std::unique_ptr<const Layer> (*)(const Description&, const Machine&);

// By the entry "op" of a description.
const std::map<std::string, Maker> kMakers = {
#define LOOPWRIGHT_LAYER(name) {#name, &make_##name},
#include "layer_kinds.inc"
#undef LOOPWRIGHT_LAYER
};

}  // namespace

std::vector<std::string> layer_kinds() {
  std::vector<std::string> names;
  for (const auto& entry : kMakers) names.push_back(entry.first);
  return names;
}

std::unique_ptr<const Layer> make_layer(const tvm::ffi::json::Object& entries,
                                        const tvm::ffi::Array<tvm::ffi::Tensor>& weights, const Machine& machine) {
  const Description description(entries, weights);
  const std::string op = description.text("op");
  const int64_t threads = description.integer("threads");
  if (threads < 1 || threads > machine.threads)
    throw std::invalid_argument("threads must be between 1 and the model's " + std::to_string(machine.threads));
  const auto maker = kMakers.find(op);
  if (maker != kMakers.end()) return maker->second(description, {machine.isa, static_cast<int>(threads)});
  std::string known;
  for (const auto& entry : kMakers) known += (known.empty() ? "" : ", ") + entry.first;
  throw std::invalid_argument("unknown op '" + op + "'; there are: " + known);
}

}  // namespace loopwright
