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
  // What layers are made from, and what they have in common.
  struct Source {
    tvm::ffi::json::Array descriptions;  // those that the program was made with
    tvm::ffi::Array<tvm::ffi::Tensor> weights;
    Machine machine;
    // A segment is a function that runs a part of the model in another runtime. It takes and returns any values.
    tvm::ffi::Array<tvm::ffi::Function> segments;
  };

  LayersObj(std::vector<std::shared_ptr<const Layer>> layers, Source source)
      : layers_(std::move(layers)), source_(std::move(source)) {}

  // The tensors are the inputs of the layer and then its outputs. Throws tvm::ffi::Error if they do not have its shapes.
  void run(int64_t index, const DLTensor* const* tensors, int64_t count) const;
  // Returns the schedule of a layer.
  ScheduleValues schedule(int64_t index) const { return layers_[static_cast<size_t>(index)]->schedule(); }
  int64_t size() const { return static_cast<int64_t>(layers_.size()); }

  const std::vector<std::shared_ptr<const Layer>>& layers() const { return layers_; }
  const Source& source() const { return source_; }
  const Machine& machine() const { return source_.machine; }
  const tvm::ffi::Array<tvm::ffi::Function>& segments() const { return source_.segments; }

  TVM_FFI_DECLARE_OBJECT_INFO_FINAL("loopwright.Layers", LayersObj, tvm::ffi::Object);

 private:
  std::vector<std::shared_ptr<const Layer>> layers_;
  Source source_;
};

class Layers : public tvm::ffi::ObjectRef {
 public:
  explicit Layers(tvm::ffi::ObjectPtr<LayersObj> object) : ObjectRef(std::move(object)) {}
  // Throws tvm::ffi::Error, a ValueError that names the layer, if a description is invalid.
  static Layers make(const tvm::ffi::json::Array& descriptions, const tvm::ffi::Array<tvm::ffi::Tensor>& weights,
                     const Machine& machine, const tvm::ffi::Array<tvm::ffi::Function>& segments = {});
  // Returns these layers with others at the indices that are keys of `descriptions`, whose threads or schedules may differ.
  // Everything else is shared.
  Layers with(const tvm::ffi::Map<int64_t, tvm::ffi::Any>& descriptions,
              const tvm::ffi::Array<tvm::ffi::Tensor>& weights) const;
  // Returns the same layers for tensors of other sizes. The descriptions have the ops and the indices of weights of the
  // first descriptions. Raw and packed weights are shared. Throws tvm::ffi::Error, a ValueError of one line.
  Layers resized(const tvm::ffi::json::Array& descriptions) const;

  TVM_FFI_DEFINE_OBJECT_REF_METHODS_NOTNULLABLE(Layers, tvm::ffi::ObjectRef, LayersObj);
};

}  // namespace loopwright
