// A layer of a compiled model: an operator of ours, its weights packed, for tensors of one shape.
#pragma once

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/json.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "loopwright/isa.h"
#include "loopwright/schedule_values.h"

namespace loopwright {

using Shape = std::vector<int64_t>;

class Layer {
 public:
  virtual ~Layer() = default;

  // The tensors have the layer's shapes; the last is the output, which no other overlaps. Any thread may call it at any
  // time.
  virtual void run(const DLTensor* const* tensors) const = 0;
  // What run() goes by; empty where there is nothing to decide.
  virtual ScheduleValues schedule() const { return {}; }

  // Of the inputs and then the output, all of them contiguous float32.
  const std::vector<Shape>& shapes() const { return shapes_; }

 protected:
  explicit Layer(std::vector<Shape> shapes) : shapes_(std::move(shapes)) {}

 private:
  std::vector<Shape> shapes_;
};

// What a layer is made for.
struct Machine {
  Isa isa;
  int threads;
};

// Makes the layer that an entry of a manifest's "layers" describes (compiler/workloads/layer.py says what stands in it). Weights
// are named there by their place among `weights`. Throws std::invalid_argument where the description makes no sense.
std::unique_ptr<const Layer> make_layer(const tvm::ffi::json::Object& description,
                                        const tvm::ffi::Array<tvm::ffi::Tensor>& weights, const Machine& machine);

}  // namespace loopwright
