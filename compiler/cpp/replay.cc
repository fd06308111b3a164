#include "replay.h"

#include <tvm/ffi/c_api.h>
#include <tvm/ffi/error.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "program.h"

namespace loopwright {
namespace {

using tvm::ffi::Any;
using tvm::ffi::AnyView;
using tvm::ffi::Array;
using tvm::ffi::Function;
using tvm::ffi::Object;
using tvm::ffi::Optional;
using tvm::ffi::PackedArgs;
using tvm::ffi::Tensor;

constexpr const char* kBuiltin = "vm.builtin.";
// Builtins that make a value from others.
constexpr std::array kMakers = {"vm.builtin.alloc_storage", "vm.builtin.alloc_tensor", "vm.builtin.reshape"};
// Builtins without an effect on tensors: checks of what never changes, and moves between registers and tuples.
constexpr std::array kChecks = {"vm.builtin.check_tensor_info", "vm.builtin.match_shape", "vm.builtin.match_prim_value",
                                "vm.builtin.check_tuple_info",  "vm.builtin.null_value",  "vm.builtin.make_tuple",
                                "vm.builtin.tuple_getitem",     "vm.builtin.copy",        "vm.builtin.kill_object"};
constexpr const char* kCondition = "vm.builtin.read_if_cond";

template <size_t N>
bool is_one_of(const std::string& name, const std::array<const char*, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

const Object* object_of(const Any& value) {
  const auto object = value.try_cast<tvm::ffi::ObjectRef>();
  return object && object->defined() ? object->get() : nullptr;
}

}  // namespace

void Recording::note(const PackedArgs& args) {
  if (args[2].cast<bool>()) {
    open_.push_back(calls_.size());
    return;
  }
  const size_t before = open_.back();
  open_.pop_back();
  if (calls_.size() > before) return;
  constexpr int kFirst = 4;
  Call call{args[0], args[1].cast<std::string>(), args[3], {}};
  for (int i = kFirst; i < args.size(); ++i) call.arguments.emplace_back(args[i]);
  calls_.push_back(std::move(call));
}

std::unique_ptr<Replay> Replay::of(const Recording& recording, const std::vector<Any>& arguments,
                                   const Array<Any>& outputs) {
  // Values that each run must make again, because the outputs are in their memory: backwards from the outputs.
  std::unordered_set<const Object*> fresh;
  for (const Any& output : outputs) {
    if (!output.try_cast<Tensor>()) return nullptr;
    fresh.insert(object_of(output));
  }
  for (auto call = recording.calls_.rbegin(); call != recording.calls_.rend(); ++call) {
    if (!is_one_of(call->name, kMakers) || fresh.count(object_of(call->result)) == 0) continue;
    for (const Any& argument : call->arguments)
      if (const Object* object = object_of(argument)) fresh.insert(object);
  }

  std::unique_ptr<Replay> replay(new Replay);
  std::unordered_map<const Object*, int64_t> slots;
  const auto count = static_cast<int64_t>(arguments.size()) - 1;
  for (int64_t i = 0; i < count; ++i) {
    const Any& argument = arguments[static_cast<size_t>(i)];
    const Object* input = object_of(argument);
    // An output in the memory of an input, or an input that is given twice.
    if (!argument.try_cast<Tensor>() || fresh.count(input) > 0 || !slots.emplace(input, i).second) return nullptr;
  }
  replay->slots_.resize(static_cast<size_t>(count));
  replay->aligned_.resize(static_cast<size_t>(count), Tensor(nullptr));

  for (const Recording::Call& recorded : recording.calls_) {
    if (is_one_of(recorded.name, kChecks)) continue;
    const bool makes = is_one_of(recorded.name, kMakers);
    const auto function = recorded.function.try_cast<Function>();
    const auto branch = recorded.name == kCondition ? recorded.result.try_cast<bool>() : std::optional<bool>();
    const bool other_builtin = recorded.name.rfind(kBuiltin, 0) == 0 && !makes && !branch;
    if (!function || other_builtin || (!makes && !branch && recorded.result != nullptr)) return nullptr;

    Call call{*function, {}, {}, -1, {}, -1, branch};
    std::vector<Any> constants;  // arguments that are the same in each run
    for (const Any& argument : recorded.arguments) {
      const Object* object = object_of(argument);
      const auto slot = object ? slots.find(object) : slots.end();
      if (slot != slots.end()) {
        call.patches.push_back({static_cast<int64_t>(call.arguments.size()), slot->second});
        call.arguments.emplace_back(nullptr);
      } else {
        call.arguments.emplace_back(argument);
        constants.push_back(argument);
      }
    }
    if (makes) {
      const Object* result = object_of(recorded.result);
      if (!result) return nullptr;
      if (call.patches.empty() && fresh.count(result) == 0) {  // the same value in each run
        replay->kept_.push_back(recorded.result);
        continue;
      }
      call.result = static_cast<int64_t>(replay->slots_.size());
      slots[result] = call.result;
      replay->slots_.emplace_back();
    } else if (!recorded.arguments.empty() && recorded.arguments.front().try_cast<const LayersObj*>()) {
      constexpr size_t kTensors = 2;  // after the layers and the index
      call.layer = recorded.arguments[1].cast<int64_t>();
      for (size_t i = kTensors; i < recorded.arguments.size(); ++i)
        call.tensors.push_back(recorded.arguments[i].cast<DLTensor*>());
    }
    // The views refer to these values.
    replay->kept_.insert(replay->kept_.end(), constants.begin(), constants.end());
    replay->calls_.push_back(std::move(call));
  }
  for (const Any& output : outputs) {
    const auto slot = slots.find(object_of(output));
    if (slot == slots.end()) return nullptr;  // a constant, which the caller could change
    replay->output_slots_.push_back(slot->second);
  }
  return replay;
}

Optional<Array<Any>> Replay::run(const AnyView* inputs, int count, const LayersObj& layers) {
  for (int i = 0; i < count; ++i) {
    const auto place = static_cast<size_t>(i);
    Tensor tensor = inputs[i].cast<Tensor>();
    if (!is_aligned(tensor)) {
      if (!aligned_[place].defined()) aligned_[place] = aligned_tensor(tensor.shape(), tensor.dtype());
      copy_elements(tensor, aligned_[place]);
      tensor = aligned_[place];
    }
    slots_[place] = tensor;
  }
  for (Call& call : calls_) {
    if (call.layer >= 0) {
      constexpr int64_t kTensors = 2;
      for (const Patch& patch : call.patches)
        call.tensors[static_cast<size_t>(patch.argument - kTensors)] =
            slots_[static_cast<size_t>(patch.slot)].cast<DLTensor*>();
      layers.layers()[static_cast<size_t>(call.layer)]->run(call.tensors.data());
      continue;
    }
    for (const Patch& patch : call.patches)
      call.arguments[static_cast<size_t>(patch.argument)] = slots_[static_cast<size_t>(patch.slot)];
    Any result;
    call.function.CallPacked(call.arguments.data(), static_cast<int>(call.arguments.size()), &result);
    if (call.branch && result.cast<bool>() != *call.branch) {
      release();
      return std::nullopt;
    }
    if (call.result >= 0) slots_[static_cast<size_t>(call.result)] = std::move(result);
  }
  Array<Any> outputs;
  for (const int64_t slot : output_slots_) outputs.push_back(slots_[static_cast<size_t>(slot)]);
  release();
  return outputs;
}

void Replay::release() {
  for (Any& slot : slots_) slot = nullptr;
}

}  // namespace loopwright
