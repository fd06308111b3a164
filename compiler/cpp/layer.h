// A layer of a compiled model: a kernel with its weights packed, for tensors of one shape.
#pragma once

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/json.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "loopwright/machine_model.h"
#include "loopwright/schedule_values.h"

namespace loopwright {

using Shape = std::vector<int64_t>;

class Description;

class UserOperators;

// What a layer is made for: an ISA with the costs of a CPU, from which default schedules follow, a number of threads, and the
// operators of users, which may be null.
struct Machine {
  Target target;
  int threads;
  std::shared_ptr<const UserOperators> operators;
};

class Layer {
 public:
  virtual ~Layer() = default;

  // The tensors have the layer's shapes. The inputs come first; the outputs must not overlap any tensor. Thread-safe.
  virtual void run(const DLTensor* const* tensors) const = 0;
  // The schedule that run() uses; empty if there is nothing to decide.
  virtual ScheduleValues schedule() const { return {}; }

  // Returns the layer of other sizes, threads or schedule that a description of the same kind and weights describes. It
  // shares packed weights with this one. Returns null if the layers of this kind share nothing. Throws
  // std::invalid_argument for an invalid description.
  virtual std::unique_ptr<const Layer> resized(const Description& /*description*/, const Machine& /*machine*/) const {
    return nullptr;
  }

  // Throws std::invalid_argument if the tensors do not have the shapes and types of the layer. The message continues the
  // name of the layer.
  void check(const DLTensor* const* tensors, int64_t count) const;
  // The data type of a tensor.
  virtual DLDataType dtype(size_t /*tensor*/) const { return {kDLFloat, 32, 1}; }

  // Shapes of the inputs and then of the outputs, all of them contiguous.
  const std::vector<Shape>& shapes() const { return shapes_; }

 protected:
  explicit Layer(std::vector<Shape> shapes) : shapes_(std::move(shapes)) {}

 private:
  std::vector<Shape> shapes_;
};

// The kinds of layers, sorted by name.
std::vector<std::string> layer_kinds();

// Makes the layer that an entry of a manifest's "layers" describes (see compiler/workloads/layer.py). The entry refers to
// weights by their indices in `weights`. Throws std::invalid_argument for an invalid description.
std::unique_ptr<const Layer> make_layer(const tvm::ffi::json::Object& description,
                                        const tvm::ffi::Array<tvm::ffi::Tensor>& weights, const Machine& machine);

// Makes a layer of other sizes that shares the packed weights of `layer`, which `own` describes. Throws
// std::invalid_argument for an invalid description, and for one of another op or with other weights.
std::unique_ptr<const Layer> resize_layer(const Layer& layer, const tvm::ffi::json::Object& own,
                                          const tvm::ffi::json::Object& description,
                                          const tvm::ffi::Array<tvm::ffi::Tensor>& weights, const Machine& machine);

}  // namespace loopwright
