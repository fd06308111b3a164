#include "layers.h"

#include <tvm/ffi/error.h>

#include <stdexcept>

namespace loopwright {
namespace {

using tvm::ffi::Any;
using tvm::ffi::Array;
using tvm::ffi::Tensor;

std::shared_ptr<const Layer> made(int64_t index, const Any& description, const Array<Tensor>& weights,
                                  const Machine& machine) {
  try {
    const auto entries = description.try_cast<tvm::ffi::json::Object>();
    if (!entries) throw std::invalid_argument("its description must be an object");
    return make_layer(*entries, weights, machine);
  } catch (const std::invalid_argument& error) {
    TVM_FFI_THROW(ValueError) << "layer " << index << ": " << error.what();
  }
  TVM_FFI_UNREACHABLE();
}

}  // namespace

Layers Layers::make(const tvm::ffi::json::Array& descriptions, const Array<Tensor>& weights, const Machine& machine,
                    const Array<tvm::ffi::Function>& segments) {
  std::vector<std::shared_ptr<const Layer>> layers;
  for (const Any& description : descriptions)
    layers.push_back(made(static_cast<int64_t>(layers.size()), description, weights, machine));
  return Layers(tvm::ffi::make_object<LayersObj>(std::move(layers), machine, segments));
}

Layers Layers::with(const tvm::ffi::Map<int64_t, Any>& descriptions, const Array<Tensor>& weights) const {
  std::vector<std::shared_ptr<const Layer>> layers = get()->layers();
  for (const auto& [index, description] : descriptions) {
    if (index < 0 || index >= get()->size())
      TVM_FFI_THROW(IndexError) << "there are layers 0 to " << get()->size() - 1 << ", got " << index;
    layers[static_cast<size_t>(index)] = made(index, description, weights, get()->machine());
  }
  return Layers(tvm::ffi::make_object<LayersObj>(std::move(layers), get()->machine(), get()->segments()));
}

void LayersObj::run(int64_t index, const DLTensor* const* tensors, int64_t count) const {
  if (index < 0 || index >= size()) TVM_FFI_THROW(IndexError) << "there is no layer " << index;
  const Layer& layer = *layers_[static_cast<size_t>(index)];
  try {
    layer.check(tensors, count);
  } catch (const std::invalid_argument& error) {
    TVM_FFI_THROW(ValueError) << "layer " << index << error.what();
  }
  layer.run(tensors);
}

}  // namespace loopwright
