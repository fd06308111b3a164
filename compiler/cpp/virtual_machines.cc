#include "virtual_machines.h"

#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>

#include <chrono>

#include "loopwright/huge_pages.h"

namespace loopwright {

using tvm::ffi::Function;
using tvm::ffi::Module;
using tvm::ffi::PackedArgs;

void HugePages::note(const PackedArgs& args) {
  constexpr int kFirst = 4;
  constexpr size_t kMinBytes = size_t{1} << 16;
  for (int i = kFirst; i < args.size(); ++i) {
    const auto tensor = args[i].try_cast<DLTensor*>();
    if (!tensor) continue;
    const size_t bytes = tvm::ffi::GetDataSize(**tensor);
    const auto first = reinterpret_cast<uintptr_t>((*tensor)->data);
    for (uintptr_t at = first / kHugePageBytes; bytes >= kMinBytes && at <= (first + bytes - 1) / kHugePageBytes; ++at)
      if (moved_.count(at) == 0) noted_.insert(at);
  }
}

void HugePages::collapse() {
  if (noted_.empty()) return;
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kMostTime(1);
  const Clock::time_point end = Clock::now() + kMostTime;
  do {
    collapse_huge_page(reinterpret_cast<void*>(*noted_.begin() * kHugePageBytes));
    moved_.insert(noted_.extract(noted_.begin()));
  } while (!noted_.empty() && Clock::now() < end);
}

VirtualMachine VirtualMachines::make() const {
  const auto function = [](const Module& module, const char* name) {
    const auto found = module->GetFunction(name, true);
    if (!found) TVM_FFI_THROW(ValueError) << "the executable has no function " << name;
    return *found;
  };
  const Module vm = function(executable_, "vm_load_executable")().cast<Module>();
  [[maybe_unused]] constexpr int kNaiveAllocator = 1;
  [[maybe_unused]] constexpr int kPooledAllocator = 2;
#ifdef __SANITIZE_ADDRESS__  // a pool rounds sizes up and keeps freed memory, which hides accesses outside of tensors
  constexpr int kAllocator = kNaiveAllocator;
#else
  constexpr int kAllocator = kPooledAllocator;
#endif
  function(vm, "vm_initialization")(static_cast<int>(kDLCPU), 0, kAllocator);
  return {vm, function(vm, "main"), {}};
}

VirtualMachine VirtualMachines::take() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      VirtualMachine machine = std::move(idle_.back());
      idle_.pop_back();
      return machine;
    }
  }
  return make();
}

void VirtualMachines::give_back(VirtualMachine machine) {
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(machine));
}

}  // namespace loopwright
