// Programs of models: Relax bytecode and machine code, which TVM's virtual machine runs.
#pragma once

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <memory>
#include <vector>

#include "layers.h"
#include "loopwright/model.h"
#include "loopwright/thread_pool.h"
#include "virtual_machines.h"

namespace loopwright {

// An executable and its layers. Thread-safe.
class ProgramObj : public tvm::ffi::Object {
 public:
  // Virtual machines are created from `executable`. Its function main takes the model's inputs and then the layers, and
  // returns all outputs as an array. Inputs and outputs are tensors, except values that only segments use.
  // `ieee`: whether subnormal numbers are kept; otherwise all threads that run the program take them as zero.
  ProgramObj(tvm::ffi::Module executable, Layers layers, bool ieee)
      : ProgramObj(std::make_shared<VirtualMachines>(std::move(executable)), std::move(layers), ieee) {}
  // A program that runs other layers on the machines of another program, or on other threads. Without a pool it runs on that
  // of the process.
  ProgramObj(std::shared_ptr<VirtualMachines> machines, Layers layers, bool ieee,
             std::shared_ptr<ThreadPool> pool = nullptr);

  const Layers& layers() const { return layers_; }
  const std::shared_ptr<VirtualMachines>& machines() const { return machines_; }
  bool ieee() const { return ieee_; }
  const std::shared_ptr<ThreadPool>& pool() const { return pool_; }

  // Takes the arguments of main without the layers, and returns its result.
  tvm::ffi::Array<tvm::ffi::Any> run(const tvm::ffi::AnyView* inputs, int count) const;
  // Runs the program `runs` times and returns the times of each call.
  std::vector<CallTimes> profile(const tvm::ffi::AnyView* inputs, int count, int64_t runs) const;

  TVM_FFI_DECLARE_OBJECT_INFO_FINAL("loopwright.Program", ProgramObj, tvm::ffi::Object);

 private:
  // Runs like run_on, notes the memory that the machine then has for huge pages, and records the calls for later runs.
  tvm::ffi::Array<tvm::ffi::Any> run_recorded(VirtualMachine& machine, const tvm::ffi::AnyView* inputs,
                                              int count) const;
  // `used` receives the arguments of main.
  tvm::ffi::Array<tvm::ffi::Any> run_on(const VirtualMachine& machine, const tvm::ffi::AnyView* inputs, int count,
                                        std::vector<tvm::ffi::Any>* used = nullptr) const;
  tvm::ffi::Optional<tvm::ffi::Array<tvm::ffi::Any>> replayed(Replay& replay, const tvm::ffi::AnyView* inputs,
                                                              int count) const;

  std::shared_ptr<VirtualMachines> machines_;
  Layers layers_;
  bool ieee_;
  std::shared_ptr<ThreadPool> pool_;
  int64_t serial_;  // differs between programs
};

class Program : public tvm::ffi::ObjectRef {
 public:
  explicit Program(tvm::ffi::ObjectPtr<ProgramObj> object) : ObjectRef(std::move(object)) {}
  TVM_FFI_DEFINE_OBJECT_REF_METHODS_NOTNULLABLE(Program, tvm::ffi::ObjectRef, ProgramObj);
};

// Returns a tensor aligned to 64 bytes, as generated code requires.
tvm::ffi::Tensor aligned_tensor(tvm::ffi::ShapeView shape, DLDataType dtype);
bool is_aligned(const tvm::ffi::Tensor& tensor);
// Copies between contiguous tensors of the same shape and type.
void copy_elements(const tvm::ffi::Tensor& from, const tvm::ffi::Tensor& to);

}  // namespace loopwright
