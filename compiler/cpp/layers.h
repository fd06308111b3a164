// All layers and segments of a model, as one object that is passed to its program in each run.
#pragma once

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/object.h>

#include <memory>
#include <string>
#include <vector>

#include "layer.h"

namespace loopwright {

class LayersObj : public tvm::ffi::Object {
 public:
  // A segment is a function that runs a part of the model in another runtime. It takes and returns any values.
  LayersObj(std::vector<std::shared_ptr<const Layer>> layers, const Machine& machine,
            tvm::ffi::Array<tvm::ffi::Function> segments)
      : layers_(std::move(layers)), machine_(machine), segments_(std::move(segments)) {}

  // The tensors are the inputs of the layer and then its outputs. Throws tvm::ffi::Error if they do not have its shapes.
  void run(int64_t index, const DLTensor* const* tensors, int64_t count) const;
  // Returns the schedule of a layer.
  ScheduleValues schedule(int64_t index) const { return layers_[static_cast<size_t>(index)]->schedule(); }
  int64_t size() const { return static_cast<int64_t>(layers_.size()); }

  const std::vector<std::shared_ptr<const Layer>>& layers() const { return layers_; }
  const Machine& machine() const { return machine_; }
  const tvm::ffi::Array<tvm::ffi::Function>& segments() const { return segments_; }

  TVM_FFI_DECLARE_OBJECT_INFO_FINAL("loopwright.Layers", LayersObj, tvm::ffi::Object);

 private:
  std::vector<std::shared_ptr<const Layer>> layers_;
  Machine machine_;
  tvm::ffi::Array<tvm::ffi::Function> segments_;
};

class Layers : public tvm::ffi::ObjectRef {
 public:
  explicit Layers(tvm::ffi::ObjectPtr<LayersObj> object) : ObjectRef(std::move(object)) {}
  // Throws tvm::ffi::Error, a ValueError that names the layer, if a description is invalid.
  static Layers make(const tvm::ffi::json::Array& descriptions, const tvm::ffi::Array<tvm::ffi::Tensor>& weights,
                     const Machine& machine, const tvm::ffi::Array<tvm::ffi::Function>& segments = {});
  // Returns these layers with others at the indices that are keys of `descriptions`. Everything else is shared.
  Layers with(const tvm::ffi::Map<int64_t, tvm::ffi::Any>& descriptions,
              const tvm::ffi::Array<tvm::ffi::Tensor>& weights) const;

  TVM_FFI_DEFINE_OBJECT_REF_METHODS_NOTNULLABLE(Layers, tvm::ffi::ObjectRef, LayersObj);
};

}  // namespace loopwright
