#include "layers.h"

#include <tvm/ffi/error.h>

#include <stdexcept>

#include "description.h"

namespace loopwright {
namespace {

using tvm::ffi::Any;
using tvm::ffi::Array;
using tvm::ffi::Tensor;

using tvm::ffi::json::Object;

// Returns make(description). Its errors become ValueErrors that name the layer.
template <class Make>
std::shared_ptr<const Layer> made(int64_t index, const Any& description, const Make& make) {
  try {
    const auto entries = description.try_cast<Object>();
    if (!entries) throw std::invalid_argument("its description must be an object");
    return make(*entries);
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
    layers.push_back(made(static_cast<int64_t>(layers.size()), description,
                          [&](const Object& entries) { return make_layer(entries, weights, machine); }));
  return Layers(
      tvm::ffi::make_object<LayersObj>(std::move(layers), LayersObj::Source{descriptions, weights, machine, segments}));
}

Layers Layers::with(const tvm::ffi::Map<int64_t, Any>& descriptions, const Array<Tensor>& weights) const {
  const LayersObj::Source& source = get()->source();
  std::vector<std::shared_ptr<const Layer>> layers = get()->layers();
  for (const auto& [index, description] : descriptions) {
    if (index < 0 || index >= get()->size())
      TVM_FFI_THROW(IndexError) << "there are layers 0 to " << get()->size() - 1 << ", got " << index;
    const Description own(source.descriptions[index].cast<Object>(), source.weights);
    layers[static_cast<size_t>(index)] = made(index, description, [&](const Object& entries) {
      if (Description(entries, weights).text("op") != own.text("op"))
        throw std::invalid_argument("op must be " + own.text("op") + ", as before");
      return make_layer(entries, weights, source.machine);
    });
  }
  return Layers(tvm::ffi::make_object<LayersObj>(std::move(layers), source));
}

Layers Layers::resized(const tvm::ffi::json::Array& descriptions) const {
  const LayersObj::Source& source = get()->source();
  if (static_cast<int64_t>(descriptions.size()) != get()->size())
    TVM_FFI_THROW(ValueError) << "there are " << get()->size() << " layers, got " << descriptions.size()
                              << " descriptions";
  std::vector<std::shared_ptr<const Layer>> layers;
  for (const auto& layer : get()->layers()) {
    const auto index = static_cast<int64_t>(layers.size());
    const auto own = source.descriptions[index].cast<Object>();
    layers.push_back(made(index, descriptions[index], [&](const Object& entries) {
      return resize_layer(*layer, own, entries, source.weights, source.machine);
    }));
  }
  return Layers(tvm::ffi::make_object<LayersObj>(std::move(layers), source));
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
