// The functions that Python and programs on TVM's virtual machine call.
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "generated_code.h"
#include "layer.h"
#include "loopwright/float_mode.h"
#include "loopwright/thread_pool.h"
#include "program.h"
#include "program_library.h"
#include "user_operators.h"

namespace loopwright {
namespace {

using tvm::ffi::Any;
using tvm::ffi::Array;
using tvm::ffi::Map;
using tvm::ffi::Optional;
using tvm::ffi::PackedArgs;
using tvm::ffi::String;
using tvm::ffi::Tensor;

namespace json = tvm::ffi::json;
namespace reflection = tvm::ffi::reflection;

// Runs a layer. Arguments: (layers, index, inputs..., outputs...).
void run_layer(PackedArgs args, Any*) {
  const int count = args.size() - 2;
  if (count < 1 || count > LOOPWRIGHT_MOST_TENSORS)
    TVM_FFI_THROW(ValueError) << "a layer takes 1 to " << LOOPWRIGHT_MOST_TENSORS << " tensors";
  std::array<const DLTensor*, LOOPWRIGHT_MOST_TENSORS> tensors{};
  for (int i = 0; i < count; ++i) tensors[static_cast<size_t>(i)] = args[i + 2].cast<DLTensor*>();
  args[0].cast<const LayersObj*>()->run(args[1].cast<int64_t>(), tensors.data(), count);
}

// Returns the outputs of a segment with its tensors where generated code may read them.
Array<Any> aligned(const Array<Any>& outputs) {
  Array<Any> found;
  for (const Any& output : outputs) {
    const auto tensor = output.try_cast<Tensor>();
    if (!tensor || is_aligned(*tensor)) {
      found.push_back(output);
      continue;
    }
    found.push_back(aligned_tensor(tensor->shape(), tensor->dtype()));
    copy_elements(*tensor, found.back().cast<Tensor>());
  }
  return found;
}

// Runs a segment: (layers, index, inputs...) -> its outputs, an array.
void run_segment(PackedArgs args, Any* result) {
  const auto& segments = args[0].cast<const LayersObj*>()->segments();
  const auto index = args[1].cast<int64_t>();
  if (index < 0 || index >= static_cast<int64_t>(segments.size()))
    TVM_FFI_THROW(IndexError) << "there is no segment " << index;
  Any outputs;
  segments[index].CallPacked(args.data() + 2, args.size() - 2, &outputs);
  *result = aligned(outputs.cast<Array<Any>>());
}

Any parsed(const String& text) {
  String error;
  Any value = json::Parse(text, &error);
  if (!error.empty()) TVM_FFI_THROW(ValueError) << "invalid JSON: " << error;
  return value;
}

// The costs of the CPU are those of `model`, the text of a machine model, or of this CPU without one.
Target target_of(const String& isa, const Optional<String>& model) {
  if (!model) return parse_isa(isa);
  try {
    return {parse_isa(isa), std::make_shared<const MachineModel>(MachineModel::parse(*model))};
  } catch (const std::invalid_argument& error) {
    TVM_FFI_THROW(ValueError) << error.what();
  }
  TVM_FFI_UNREACHABLE();
}

// The operators of some libraries, for Python.
class OperatorsObj : public tvm::ffi::Object {
 public:
  explicit OperatorsObj(std::shared_ptr<const UserOperators> operators) : operators(std::move(operators)) {}
  std::shared_ptr<const UserOperators> operators;
  TVM_FFI_DECLARE_OBJECT_INFO_FINAL("loopwright.Operators", OperatorsObj, tvm::ffi::Object);
};

class Operators : public tvm::ffi::ObjectRef {
 public:
  explicit Operators(tvm::ffi::ObjectPtr<OperatorsObj> object) : ObjectRef(std::move(object)) {}
  TVM_FFI_DEFINE_OBJECT_REF_METHODS_NOTNULLABLE(Operators, tvm::ffi::ObjectRef, OperatorsObj);
};

// Returns function(), whose std::invalid_argument becomes a ValueError.
template <class F>
auto with_value_errors(const F& function) {
  try {
    return function();
  } catch (const std::invalid_argument& error) {
    TVM_FFI_THROW(ValueError) << error.what();
  }
  TVM_FFI_UNREACHABLE();
}

Operators load_operators(const Array<String>& paths) {
  return with_value_errors([&] {
    return Operators(
        tvm::ffi::make_object<OperatorsObj>(UserOperators::load(std::vector<std::string>(paths.begin(), paths.end()))));
  });
}

// Returns the domains and names of all operators.
Array<Array<String>> operator_names(const Operators& operators) {
  Array<Array<String>> names;
  for (const auto& [domain, name] : operators->operators->names()) names.push_back({String(domain), String(name)});
  return names;
}

// Returns the types of a node's outputs as JSON: a list of {dtype, shape}. `description`: see UserNode.
String infer_operator(const Operators& operators, const String& description, int64_t outputs) {
  return with_value_errors([&] {
    const auto entries = parsed(description).cast<json::Object>();
    json::Array types;
    for (const auto& type : UserNode(entries, static_cast<size_t>(outputs), operators->operators.get()).infer())
      types.push_back(described(type));
    return json::Stringify(types);
  });
}

Layers make_layers(const String& descriptions, const Array<Tensor>& weights, const String& isa, int threads,
                   const Array<tvm::ffi::Function>& segments, const Optional<String>& model,
                   const Optional<Operators>& operators) {
  return Layers::make(parsed(descriptions).cast<json::Array>(), weights,
                      {target_of(isa, model), threads, operators ? (*operators)->operators : nullptr}, segments);
}

Array<String> kinds() {
  Array<String> names;
  for (const std::string& name : layer_kinds()) names.push_back(String(name));
  return names;
}

// The JSON of a value of a schedule.
struct AsJson {
  Any operator()(int64_t number) const { return Any(number); }
  Any operator()(const std::string& name) const { return Any(String(name)); }
  Any operator()(const std::vector<int64_t>& tuple) const {
    json::Array list;
    for (const int64_t number : tuple) list.push_back(Any(number));
    return Any(list);
  }
};

// Returns the schedules of all layers as JSON, with null for a layer without a schedule.
String schedules(const Layers& layers) {
  json::Array all;
  for (int64_t i = 0; i < layers->size(); ++i) {
    const ScheduleValues values = layers->schedule(i);
    json::Object schedule;
    for (const auto& [name, value] : values) schedule.Set(String(name), std::visit(AsJson{}, value));
    all.push_back(values.empty() ? Any(nullptr) : Any(schedule));
  }
  return json::Stringify(all);
}

Program make_program(const tvm::ffi::Module& executable, const Layers& layers, bool ieee) {
  return Program(tvm::ffi::make_object<ProgramObj>(executable, layers, ieee));
}

Program with_machines_of(const Program& program, const Layers& layers) {
  return Program(tvm::ffi::make_object<ProgramObj>(program->machines(), layers, program->ieee(), program->pool()));
}

// Returns the program on separate threads, bound to `cores` if there are any. They spin for `spin_us` microseconds before they
// sleep. Everything else is shared.
Program on_cores(const Program& program, const Array<int64_t>& cores, int64_t spin_us) {
  const std::vector<int> cpus(cores.begin(), cores.end());
  auto pool = std::make_shared<ThreadPool>(cpus, std::chrono::microseconds(spin_us));
  return Program(
      tvm::ffi::make_object<ProgramObj>(program->machines(), program->layers(), program->ieee(), std::move(pool)));
}

// Returns the program with other layers at some indices: {index: description}. Everything else is shared.
Program with_layers(const Program& program, const Map<int64_t, String>& descriptions, const Array<Tensor>& weights) {
  Map<int64_t, Any> changed;
  for (const auto& [place, description] : descriptions) changed.Set(place, parsed(description));
  return with_machines_of(program, program->layers().with(changed, weights));
}

// Returns the program for tensors of other sizes: a JSON array with the description of each layer, whose op and indices of
// weights are those of the program's layer. Everything else is shared, packed weights too.
Program resized(const Program& program, const String& descriptions) {
  const auto entries = parsed(descriptions).try_cast<json::Array>();
  if (!entries) TVM_FFI_THROW(ValueError) << "the descriptions must be a list";
  return with_machines_of(program, program->layers().resized(*entries));
}

// Runs a program: (program, inputs...) -> outputs, an array; a single output alone, because Python takes a microsecond to
// read an array.
void run_program(PackedArgs args, Any* result) {
  const Array<Any> outputs = args[0].cast<const ProgramObj*>()->run(args.data() + 1, args.size() - 1);
  if (outputs.size() == 1) {
    *result = outputs[0];
  } else {
    *result = outputs;
  }
}

// Measures a program: (program, runs, inputs...) -> for each call (function, layer or segment or -1, seconds of each run,
// simulated regions of a run).
void profile_program(PackedArgs args, Any* result) {
  Array<Any> rows;
  for (const CallTimes& call :
       args[0].cast<const ProgramObj*>()->profile(args.data() + 2, args.size() - 2, args[1].cast<int64_t>()))
    rows.push_back(
        Array<Any>{String(call.function), call.layer, Array<double>(call.secs.begin(), call.secs.end()), call.regions});
  *result = rows;
}

// Sets whether the calling thread keeps subnormal numbers, and returns whether it kept them before.
bool keep_subnormals(bool kept) {
  const FloatMode before = FloatMode::current();
  before.with_subnormals(kept).enter();
  return before.keeps_subnormals();
}

TVM_FFI_STATIC_INIT_BLOCK() {
  reflection::GlobalDef()
// One function per kind of layer: (layers, index, inputs..., outputs...).
#define LOOPWRIGHT_LAYER(name) .def_packed("loopwright." #name, &run_layer)
#include "layer_kinds.inc"
#undef LOOPWRIGHT_LAYER
      .def_packed("loopwright.segment", &run_segment)
      .def("loopwright.layer_kinds", &kinds)
      .def("loopwright.share_thread_pool", &share_thread_pool)
      .def("loopwright.load_library", &load_library)
      .def("loopwright.set_generated_code_threads", &set_generated_code_threads)
      .def("loopwright.keep_subnormals", &keep_subnormals)
      .def("loopwright.rest_pool", &rest_pool)
      .def("loopwright.load_operators", &load_operators)
      .def("loopwright.operator_names", &operator_names)
      .def("loopwright.infer_operator", &infer_operator)
      .def("loopwright.make_layers", &make_layers)
      .def("loopwright.schedules", &schedules)
      .def("loopwright.layers_of", [](const Program& program) { return program->layers(); })
      .def("loopwright.make_program", &make_program)
      .def("loopwright.on_cores", &on_cores)
      .def("loopwright.with_layers", &with_layers)
      .def("loopwright.resized", &resized)
      .def_packed("loopwright.run_program", &run_program)
      .def_packed("loopwright.profile_program", &profile_program);
}

}  // namespace
}  // namespace loopwright
