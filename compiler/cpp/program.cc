#include "program.h"

#include <tvm/ffi/c_api.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/extra/c_env_api.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <set>

#include "generated_code.h"
#include "loopwright/huge_pages.h"

namespace loopwright {
namespace {

using tvm::ffi::Any;
using tvm::ffi::AnyView;
using tvm::ffi::Array;
using tvm::ffi::Function;
using tvm::ffi::Module;
using tvm::ffi::PackedArgs;
using tvm::ffi::Tensor;

constexpr size_t kAlignment = 64;

struct AlignedAllocator {
  void AllocData(DLTensor* tensor) {
    const size_t bytes = std::max<size_t>(tvm::ffi::GetDataSize(*tensor), 1);
    const size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    tensor->data = std::aligned_alloc(kAlignment, padded);
    if (!tensor->data) throw std::bad_alloc();
    std::memset(tensor->data, 0, padded);
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

bool is_aligned(const Tensor& tensor) { return reinterpret_cast<uintptr_t>(tensor.data_ptr()) % kAlignment == 0; }

// Sets the number of threads of generated code during its lifetime.
class GeneratedCodeThreads {
 public:
  explicit GeneratedCodeThreads(int threads) : before_(set_generated_code_threads(threads)) {}
  ~GeneratedCodeThreads() { set_generated_code_threads(before_); }
  GeneratedCodeThreads(const GeneratedCodeThreads&) = delete;
  GeneratedCodeThreads& operator=(const GeneratedCodeThreads&) = delete;

 private:
  int before_;
};

// Records the times of a virtual machine's calls, in order, over several runs.
class Recorder {
 public:
  // A call of the instrument: (function, name, true before and false after the call, result, arguments...).
  void note(const PackedArgs& args) {
    const Clock::time_point now = Clock::now();
    if (args[2].cast<bool>()) {
      if (next_ == calls_.size()) calls_.push_back({args[1].cast<std::string>(), layer_of(args), {}});
      started_ = Clock::now();
      return;
    }
    calls_[next_++].secs.push_back(std::chrono::duration<double>(now - started_).count());
  }
  void begin_run() { next_ = 0; }
  std::vector<CallTimes> calls() const { return calls_; }

 private:
  using Clock = std::chrono::steady_clock;

  // The arguments of a kernel begin with the layers and the index of the layer; those of a segment with its index.
  static int64_t layer_of(const PackedArgs& args) {
    if (args.size() < 6 || !args[4].try_cast<const LayersObj*>()) return -1;
    return args[5].cast<int64_t>();
  }

  std::vector<CallTimes> calls_;
  size_t next_ = 0;
  Clock::time_point started_;
};

// Moves the intermediate tensors of a virtual machine to huge pages. The machine allocates them on the heap, on pages of
// 4 KiB, and reuses the memory in later runs.
class HugePages {
 public:
  // A call of the instrument; see Recorder::note.
  void note(const PackedArgs& args) {
    constexpr int kFirst = 4;
    constexpr size_t kMinBytes = size_t{1} << 16;
    for (int i = kFirst; i < args.size(); ++i) {
      const auto tensor = args[i].try_cast<DLTensor*>();
      if (!tensor) continue;
      const size_t bytes = tvm::ffi::GetDataSize(**tensor);
      const auto first = reinterpret_cast<uintptr_t>((*tensor)->data);
      for (uintptr_t at = first / kHugePageBytes; bytes >= kMinBytes && at <= (first + bytes - 1) / kHugePageBytes;
           ++at)
        pages_.insert(at);
    }
  }

  // Other data on these pages moves too. If the system cannot collapse a page, the page stays unchanged.
  void collapse() const {
    for (const uintptr_t page : pages_) collapse_huge_page(reinterpret_cast<void*>(page * kHugePageBytes));
  }

 private:
  std::set<uintptr_t> pages_;  // page numbers
};

}  // namespace

Tensor aligned_tensor(tvm::ffi::ShapeView shape, DLDataType dtype) {
  return Tensor::FromNDAlloc(AlignedAllocator(), shape, dtype, DLDevice{kDLCPU, 0});
}

ProgramObj::VirtualMachine ProgramObj::make_machine() const {
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
  return {vm, function(vm, "main")};
}

Array<Any> ProgramObj::run_first(VirtualMachine& machine, const AnyView* inputs, int count) const {
  HugePages pages;
  const Function set_instrument = *machine.module->GetFunction("set_instrument", true);
  set_instrument(Function::FromPacked([&pages](PackedArgs args, Any* result) {
    pages.note(args);
    *result = int64_t{0};  // continue
  }));
  Array<Any> outputs = run_on(machine, inputs, count);
  set_instrument(Function(nullptr));
  pages.collapse();
  machine.on_huge_pages = true;
  return outputs;
}

ProgramObj::VirtualMachine ProgramObj::take_machine() const {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      VirtualMachine machine = std::move(idle_.back());
      idle_.pop_back();
      return machine;
    }
  }
  return make_machine();
}

Array<Any> ProgramObj::run(const AnyView* inputs, int count) const {
  VirtualMachine machine = take_machine();
  Array<Any> outputs = machine.on_huge_pages ? run_on(machine, inputs, count) : run_first(machine, inputs, count);
  // After an exception the machine is dropped, because it may be in the middle of a run.
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(machine));
  return outputs;
}

Array<Any> ProgramObj::run_on(const VirtualMachine& machine, const AnyView* inputs, int count) const {
  std::vector<AnyView> arguments(inputs, inputs + count);
  std::vector<Tensor> copies;
  copies.reserve(static_cast<size_t>(count));  // `arguments` has views of the elements
  for (AnyView& argument : arguments) {
    const auto given = argument.try_cast<Tensor>();
    if (!given) continue;  // a value that only segments use
    const Tensor& tensor = *given;
    if (is_aligned(tensor) && tensor.IsContiguous()) continue;
    if (!tensor.IsContiguous()) TVM_FFI_THROW(ValueError) << "inputs must be contiguous";
    copies.push_back(aligned_tensor(tensor.shape(), tensor.dtype()));
    std::memcpy(copies.back().data_ptr(), static_cast<const char*>(tensor.data_ptr()) + tensor.byte_offset(),
                tvm::ffi::GetDataSize(static_cast<size_t>(tensor.numel()), tensor.dtype()));
    argument = copies.back();
  }
  arguments.push_back(layers_);
  const GeneratedCodeThreads threads(layers_->machine().threads);
  Any result;
  machine.main.CallPacked(arguments.data(), static_cast<int>(arguments.size()), &result);
  return result.cast<Array<Any>>();
}

std::vector<CallTimes> ProgramObj::profile(const AnyView* inputs, int count, int64_t runs) const {
  const VirtualMachine machine = make_machine();
  Recorder recorder;
  const Function instrument = Function::FromPacked([&recorder](PackedArgs args, Any* result) {
    recorder.note(args);
    *result = int64_t{0};  // continue
  });
  (*machine.module->GetFunction("set_instrument", true))(instrument);
  for (int64_t run = 0; run < runs; ++run) {
    recorder.begin_run();
    run_on(machine, inputs, count);
  }
  return recorder.calls();
}

}  // namespace loopwright
