// The program of a model: Relax bytecode and machine code, run on TVM's virtual machine.
#pragma once

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <memory>
#include <mutex>
#include <vector>

#include "layers.h"
#include "loopwright/model.h"

namespace loopwright {

// The executable with layers for it. Any number of threads may run one at a time.
class ProgramObj : public tvm::ffi::Object {
 public:
  // `executable` is what a VM is made of. Its function main takes the model's inputs and then the layers, and returns
  // all outputs as an array.
  ProgramObj(tvm::ffi::Module executable, Layers layers) : executable_(executable), layers_(std::move(layers)) {}

  const Layers& layers() const { return layers_; }
  const tvm::ffi::Module& executable() const { return executable_; }

  // Arguments and result are those of main, without the layers.
  tvm::ffi::Array<tvm::ffi::Tensor> run(const tvm::ffi::AnyView* inputs, int count) const;
  // Runs `runs` times and tells what each call took.
  std::vector<CallTimes> profile(const tvm::ffi::AnyView* inputs, int count, int64_t runs) const;

  TVM_FFI_DECLARE_OBJECT_INFO_FINAL("loopwright.Program", ProgramObj, tvm::ffi::Object);

 private:
  // A virtual machine serves one run at a time.
  struct Machine {
    tvm::ffi::Module module;
    tvm::ffi::Function main;
    bool settled = false;  // whether what it keeps in memory lies on huge pages
  };

  Machine make_machine() const;
  Machine take_machine() const;
  // As run_on, after which the machine is settled.
  tvm::ffi::Array<tvm::ffi::Tensor> run_first(Machine& machine, const tvm::ffi::AnyView* inputs, int count) const;
  tvm::ffi::Array<tvm::ffi::Tensor> run_on(const Machine& machine, const tvm::ffi::AnyView* inputs, int count) const;

  tvm::ffi::Module executable_;
  Layers layers_;
  mutable std::mutex mutex_;
  mutable std::vector<Machine> idle_;
};

class Program : public tvm::ffi::ObjectRef {
 public:
  explicit Program(tvm::ffi::ObjectPtr<ProgramObj> object) : ObjectRef(std::move(object)) {}
  TVM_FFI_DEFINE_OBJECT_REF_METHODS_NOTNULLABLE(Program, tvm::ffi::ObjectRef, ProgramObj);
};

// Has generated code that is loaded from now on run its parallel loops on the kernels' thread pool. To be called when
// libtvm_runtime is loaded, which would put its own functions in place.
void share_thread_pool();

// A tensor on 64-byte boundaries, as generated code wants it.
tvm::ffi::Tensor aligned_tensor(tvm::ffi::ShapeView shape, DLDataType dtype);

}  // namespace loopwright
