// The calls of a program, replayed without the virtual machine.
//
// A program of static shapes makes the same calls with the same tensors in each run. The virtual machine decodes them,
// allocates and frees the tensors, and checks the inputs, which takes microseconds per run. A replay records the calls of one
// run and keeps its intermediate tensors. A later run only replaces the inputs, allocates the outputs, and makes the calls
// that compute something.
#pragma once

#include <tvm/ffi/any.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers.h"

namespace loopwright {

// The calls of one run, as the instrument of a virtual machine sees them. Calls that consist of others are left out.
class Recording {
 public:
  // Takes the arguments of the instrument: (function, name, true before and false after the call, result, arguments...).
  void note(const tvm::ffi::PackedArgs& args);

 private:
  friend class Replay;
  struct Call {
    tvm::ffi::Any function;
    std::string name;
    tvm::ffi::Any result;
    std::vector<tvm::ffi::Any> arguments;
  };
  std::vector<Call> calls_;
  std::vector<size_t> open_;  // for each call that has not ended, the number of calls before it
};

class Replay {
 public:
  // `arguments` and `outputs` are those of the recorded run. The last argument is the layers. Returns null if the calls depend
  // on data other than conditions of branches, or on sizes, if an input or an output is not a tensor, or if an output shares
  // memory with an input.
  static std::unique_ptr<Replay> of(const Recording& recording, const std::vector<tvm::ffi::Any>& arguments,
                                    const tvm::ffi::Array<tvm::ffi::Any>& outputs);

  // Runs the calls. The inputs are tensors of the recorded shapes, contiguous and of any alignment. `layers` has layers of the
  // same shapes as those of the recorded run, whose tensors are not checked again. One run at a time. Returns null if a
  // condition selects another branch than in the recorded run.
  tvm::ffi::Optional<tvm::ffi::Array<tvm::ffi::Any>> run(const tvm::ffi::AnyView* inputs, int count,
                                                         const LayersObj& layers);

 private:
  Replay() = default;

  // A place that gets another value in each run: an argument of a call.
  struct Patch {
    int64_t argument, slot;
  };
  struct Call {
    tvm::ffi::Function function;
    std::vector<tvm::ffi::AnyView> arguments;
    std::vector<Patch> patches;
    int64_t layer = -1;                    // of a kernel, which is called directly
    std::vector<const DLTensor*> tensors;  // of a kernel
    int64_t result = -1;                   // the slot of a tensor that each run makes; -1: the call returns nothing
    std::optional<bool> branch;            // of a condition, which must be the same in each run
  };

  // Drops the values of this run. Outputs must not stay in use here: their memory returns to the pool when the caller drops
  // them.
  void release();

  std::vector<tvm::ffi::Any> kept_;  // what the arguments of calls refer to, except those of patches
  // Values of this run: first the inputs, then what calls return.
  std::vector<tvm::ffi::Any> slots_;
  std::vector<tvm::ffi::Tensor> aligned_;  // copies of inputs that are not aligned, by input; made when first needed
  std::vector<Call> calls_;
  std::vector<int64_t> output_slots_;
};

}  // namespace loopwright
