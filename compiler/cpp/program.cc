#include "program.h"

#include <tvm/ffi/c_api.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/extra/c_env_api.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "generated_code.h"
#include "loopwright/float_mode.h"
#include "loopwright/simulation.h"

namespace loopwright {
namespace {

using tvm::ffi::Any;
using tvm::ffi::AnyView;
using tvm::ffi::Array;
using tvm::ffi::Function;
using tvm::ffi::Optional;
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

int64_t next_serial() {
  static std::atomic<int64_t> next{0};
  return next++;
}

// Records the times of a virtual machine's calls, in order, over several runs.
class Recorder {
 public:
  // A call of the instrument; see HugePages::note.
  void note(const PackedArgs& args) {
    const Clock::time_point now = Clock::now();
    if (args[2].cast<bool>()) {
      if (!open_.empty()) calls_[open_.back().place].function = kMachine;
      if (next_ == calls_.size()) calls_.push_back({args[1].cast<std::string>(), layer_of(args), {}, 0});
      open_.push_back({next_++, 0.0, simulated_regions(), Clock::now()});
      return;
    }
    const Open ended = open_.back();
    open_.pop_back();
    const double secs = std::chrono::duration<double>(now - ended.started).count();
    calls_[ended.place].secs.push_back(secs - ended.inside);
    const int64_t regions = simulated_regions() - ended.regions;
    calls_[ended.place].regions = regions;
    if (!open_.empty()) {
      open_.back().inside += secs;
      open_.back().regions += regions;
    }
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

  // A call that has not ended.
  struct Open {
    size_t place;
    double inside;    // seconds of the calls that it consists of
    int64_t regions;  // simulated before it, and in the calls that it consists of
    Clock::time_point started;
  };
  // The name of calls that consist of others: what they add is work of the machine.
  static constexpr const char* kMachine = "vm.builtin.call";

  std::vector<CallTimes> calls_;
  std::vector<Open> open_;
  size_t next_ = 0;
};

}  // namespace

Tensor aligned_tensor(tvm::ffi::ShapeView shape, DLDataType dtype) {
  return Tensor::FromNDAlloc(AlignedAllocator(), shape, dtype, DLDevice{kDLCPU, 0});
}

bool is_aligned(const Tensor& tensor) { return reinterpret_cast<uintptr_t>(tensor.data_ptr()) % kAlignment == 0; }

void copy_elements(const Tensor& from, const Tensor& to) {
  std::memcpy(to.data_ptr(), static_cast<const char*>(from.data_ptr()) + from.byte_offset(),
              tvm::ffi::GetDataSize(static_cast<size_t>(from.numel()), from.dtype()));
}

ProgramObj::ProgramObj(std::shared_ptr<VirtualMachines> machines, Layers layers, bool ieee,
                       std::shared_ptr<ThreadPool> pool)
    : machines_(std::move(machines)),
      layers_(std::move(layers)),
      ieee_(ieee),
      pool_(std::move(pool)),
      serial_(next_serial()) {}

Array<Any> ProgramObj::run_recorded(VirtualMachine& machine, const AnyView* inputs, int count) const {
  HugePages& pages = machine.pages;
  Recording recording;
  const Function set_instrument = *machine.module->GetFunction("set_instrument", true);
  set_instrument(Function::FromPacked([&](PackedArgs args, Any* result) {
    pages.note(args);
    recording.note(args);
    *result = int64_t{0};  // continue
  }));
  std::vector<Any> arguments;
  Array<Any> outputs = run_on(machine, inputs, count, &arguments);
  set_instrument(Function(nullptr));
  machine.programs.insert(serial_);
  if (auto replay = Replay::of(recording, arguments, outputs)) machine.replays.push_back(std::move(replay));
  return outputs;
}

Array<Any> ProgramObj::run(const AnyView* inputs, int count) const {
  VirtualMachine machine = machines_->take();
  const bool is_first = machine.programs.count(serial_) == 0;
  if (is_first) machine.replays.clear();  // of another program
  Optional<Array<Any>> outputs;
  for (const auto& replay : machine.replays) {
    outputs = replayed(*replay, inputs, count);
    if (outputs) break;
  }
  if (!outputs) {
    // The first run, or the first one of these branches. Each replay has its intermediate tensors.
    constexpr size_t kMostReplays = 4;
    const size_t replays = machine.replays.size();
    const bool record = is_first || (replays > 0 && replays < kMostReplays);
    outputs = record ? run_recorded(machine, inputs, count) : run_on(machine, inputs, count);
  }
  machine.pages.collapse();
  machines_->give_back(std::move(machine));
  return *std::move(outputs);
}

Optional<Array<Any>> ProgramObj::replayed(Replay& replay, const AnyView* inputs, int count) const {
  const PoolScope pool(pool_.get());
  const GeneratedCodeThreads threads(layers_->machine().threads);
  const SubnormalsScope subnormals(ieee_);
  return replay.run(inputs, count, *layers_.get());
}

Array<Any> ProgramObj::run_on(const VirtualMachine& machine, const AnyView* inputs, int count,
                              std::vector<Any>* used) const {
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
    copy_elements(tensor, copies.back());
    argument = copies.back();
  }
  arguments.push_back(layers_);
  if (used) used->assign(arguments.begin(), arguments.end());
  const PoolScope pool(pool_.get());
  const GeneratedCodeThreads threads(layers_->machine().threads);
  const SubnormalsScope subnormals(ieee_);
  Any result;
  machine.main.CallPacked(arguments.data(), static_cast<int>(arguments.size()), &result);
  return result.cast<Array<Any>>();
}

std::vector<CallTimes> ProgramObj::profile(const AnyView* inputs, int count, int64_t runs) const {
  const VirtualMachine machine = machines_->make();
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
