// RNN, GRU and LSTM whose weights come with each run.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "../description.h"
#include "../layer.h"
#include "../tensors.h"
#include "loopwright/isa.h"

namespace loopwright {
namespace {

using tvm::ffi::Any;
using tvm::ffi::Array;
using tvm::ffi::PackedArgs;
using tvm::ffi::String;
using tvm::ffi::Tensor;

// Makes the layer that a description describes, with weights that are packed now, and runs it. Arguments: (description,
// number of weights, weights..., inputs..., outputs...). The description has the form of compiler/workloads/layer.py.
void recurrent_with_weights(PackedArgs args, Any*) {
  require(args.size() >= 2, "recurrent_with_weights: arguments");
  const String text = args[0].cast<String>();
  const auto count = args[1].cast<int64_t>();
  require(count >= 0 && count <= args.size() - 2, "recurrent_with_weights: number of weights");
  String error;
  const Any parsed = tvm::ffi::json::Parse(text, &error);
  const auto description = parsed.try_cast<tvm::ffi::json::Object>();
  require(error.empty() && description, "recurrent_with_weights: description");
  Array<Tensor> weights;
  const auto end = 2 + static_cast<int>(count);
  for (int i = 2; i < end; ++i) weights.push_back(args[i].cast<Tensor>());
  std::vector<const DLTensor*> tensors;
  for (int i = end; i < args.size(); ++i) tensors.push_back(args[i].cast<DLTensor*>());
  std::unique_ptr<const Layer> layer;
  try {
    layer = make_layer(*description, weights, {available_isas().front(), 1, nullptr});
    layer->check(tensors.data(), static_cast<int64_t>(tensors.size()));
  } catch (const std::invalid_argument& invalid) {
    TVM_FFI_THROW(ValueError) << "a program calls a function incorrectly: recurrent_with_weights: " << invalid.what();
  }
  layer->run(tensors.data());
}

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef().def_packed("loopwright.recurrent_with_weights", &recurrent_with_weights);
}

}  // namespace
}  // namespace loopwright
