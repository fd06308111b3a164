#include "layer.h"

#include <tvm/ffi/dtype.h>

#include <map>

#include "description.h"
#include "layers/make.h"

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

int64_t elements(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

// Only the number of elements must match: the reader of the tensor decides how to interpret its shape.
bool fits(const DLTensor& tensor, const Shape& shape, DLDataType dtype) {
  int64_t count = 1;
  for (int i = 0; i < tensor.ndim; ++i) count *= tensor.shape[i];
  return count == elements(shape) && tensor.dtype == dtype && tensor.device.device_type == kDLCPU &&
         tvm::ffi::IsContiguous(tensor);
}

// Returns the machine with the layer's number of threads.
Machine machine_of(const Description& description, const Machine& machine) {
  const int64_t threads = description.integer("threads");
  if (threads < 1 || threads > machine.threads)
    throw std::invalid_argument("threads must be between 1 and the model's " + std::to_string(machine.threads));
  return {machine.target, static_cast<int>(threads), machine.operators};
}

Maker maker_of(const Description& description) {
  const std::string op = description.text("op");
  const auto maker = kMakers.find(op);
  if (maker != kMakers.end()) return maker->second;
  std::string known;
  for (const auto& entry : kMakers) known += (known.empty() ? "" : ", ") + entry.first;
  throw std::invalid_argument("unknown op '" + op + "'; there are: " + known);
}

}  // namespace

void Layer::check(const DLTensor* const* tensors, int64_t count) const {
  if (count != static_cast<int64_t>(shapes_.size()))
    throw std::invalid_argument(" takes " + std::to_string(shapes_.size()) + " tensors, got " + std::to_string(count));
  for (size_t i = 0; i < shapes_.size(); ++i)
    if (!fits(*tensors[i], shapes_[i], dtype(i)))
      throw std::invalid_argument(": tensor " + std::to_string(i) + " must be contiguous " +
                                  std::string(tvm::ffi::DLDataTypeToString(dtype(i))) + " with " +
                                  std::to_string(elements(shapes_[i])) + " elements");
}

std::vector<std::string> layer_kinds() {
  std::vector<std::string> names;
  for (const auto& entry : kMakers) names.push_back(entry.first);
  return names;
}

std::unique_ptr<const Layer> make_layer(const tvm::ffi::json::Object& entries,
                                        const tvm::ffi::Array<tvm::ffi::Tensor>& weights, const Machine& machine) {
  const Description description(entries, weights);
  return maker_of(description)(description, machine_of(description, machine));
}

std::unique_ptr<const Layer> resize_layer(const Layer& layer, const tvm::ffi::json::Object& own,
                                          const tvm::ffi::json::Object& entries,
                                          const tvm::ffi::Array<tvm::ffi::Tensor>& weights, const Machine& machine) {
  const Description before(own, weights), description(entries, weights);
  if (description.text("op") != before.text("op"))
    throw std::invalid_argument("op must be " + before.text("op") + " for all sizes, got " + description.text("op"));
  if (description.weight_indices() != before.weight_indices())
    throw std::invalid_argument("the weights must be the same for all sizes");
  if (!has_same_quantization(description, before))
    throw std::invalid_argument("the data types, scales and zero points must be the same for all sizes");
  const Machine its = machine_of(description, machine);
  auto resized = layer.resized(description, its);
  return resized ? std::move(resized) : maker_of(description)(description, its);
}

}  // namespace loopwright
