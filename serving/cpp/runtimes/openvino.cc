// OpenVINO's models, and ONNX models, in OpenVINO: through its C interface, which is loaded when the first model needs it.
#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <mutex>
#include <type_traits>

#include "core/on_cores.h"
#include "loopwright/serving/error.h"
#include "runtimes/runtimes.h"

namespace loopwright::serving {
namespace {

// The declarations of openvino/c that are used here, under names of this file.
struct Dimension {
  int64_t least, most;
};
struct PartialShape {
  Dimension rank;
  Dimension* dims;
};
struct Shape {
  int64_t rank;
  int64_t* dims;
};
struct VersionText {
  const char *build, *description;
};
using Core = struct CoreObject*;
using ModelRef = struct ModelObject*;
using Compiled = struct CompiledObject*;
using Port = struct PortObject*;
using InferRequest = struct InferRequestObject*;
using TensorRef = struct TensorObject*;

struct Api {
  int (*ov_get_openvino_version)(VersionText*);
  const char* (*ov_get_last_err_msg)();
  void (*ov_free)(const char*);
  int (*ov_core_create)(Core*);
  int (*ov_core_read_model)(Core, const char* path, const char* weights, ModelRef*);
  int (*ov_core_compile_model)(Core, ModelRef, const char* device, size_t property_texts, Compiled*, ...);
  void (*ov_model_free)(ModelRef);
  void (*ov_compiled_model_free)(Compiled);
  int (*ov_compiled_model_inputs_size)(Compiled, size_t*);
  int (*ov_compiled_model_outputs_size)(Compiled, size_t*);
  int (*ov_compiled_model_input_by_index)(Compiled, size_t, Port*);
  int (*ov_compiled_model_output_by_index)(Compiled, size_t, Port*);
  int (*ov_compiled_model_create_infer_request)(Compiled, InferRequest*);
  void (*ov_output_const_port_free)(Port);
  int (*ov_port_get_any_name)(Port, char**);
  int (*ov_port_get_element_type)(Port, int*);
  int (*ov_port_get_partial_shape)(Port, PartialShape*);
  void (*ov_partial_shape_free)(PartialShape*);
  int (*ov_shape_create)(int64_t rank, const int64_t*, Shape*);
  int (*ov_shape_free)(Shape*);
  int (*ov_infer_request_set_input_tensor_by_index)(InferRequest, size_t, TensorRef);
  int (*ov_infer_request_get_output_tensor_by_index)(InferRequest, size_t, TensorRef*);
  int (*ov_infer_request_infer)(InferRequest);
  void (*ov_infer_request_free)(InferRequest);
  int (*ov_tensor_create_from_host_ptr)(int type, Shape, void*, TensorRef*);
  int (*ov_tensor_get_shape)(TensorRef, Shape*);
  int (*ov_tensor_data)(TensorRef, void**);
  void (*ov_tensor_free)(TensorRef);
};

struct TypeRow {
  int element;  // of OpenVINO 2026
  DataType type;
};
constexpr std::array<TypeRow, 13> kTypes{{{1, DataType::kBool},
                                          {2, DataType::kBf16},
                                          {3, DataType::kFp16},
                                          {4, DataType::kFp32},
                                          {5, DataType::kFp64},
                                          {7, DataType::kInt8},
                                          {8, DataType::kInt16},
                                          {9, DataType::kInt32},
                                          {10, DataType::kInt64},
                                          {16, DataType::kUint8},
                                          {17, DataType::kUint16},
                                          {18, DataType::kUint32},
                                          {19, DataType::kUint64}}};
constexpr int kOldestYear = 2026;  // earlier releases number the types differently

DataType type_of(int element) {
  for (const TypeRow& row : kTypes)
    if (row.element == element) return row.type;
  throw Error(ErrorKind::kUnimplemented, "a tensor of the model has a data type that is not supported with OpenVINO");
}

int element_of(DataType type) {
  for (const TypeRow& row : kTypes)
    if (row.type == type) return row.element;
  throw Error(ErrorKind::kInternal, "a data type has no number in OpenVINO");
}

void check(const Api& api, int status) {
  if (status == 0) return;
  const char* message = api.ov_get_last_err_msg();
  throw std::runtime_error(message && *message ? message : "OpenVINO failed with status " + std::to_string(status));
}

Api load_api(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto take = [&](auto& function, const char* name) {
    function = library ? reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name)) : nullptr;
    if (!function)
      throw Error(ErrorKind::kUnavailable,
                  "OpenVINO cannot be loaded from " + path +
                      "; install it (pip install openvino), or give its C library with --openvino");
  };
  Api api{};
#define LOOPWRIGHT_TAKE(name) take(api.name, #name)
  LOOPWRIGHT_TAKE(ov_get_openvino_version);
  LOOPWRIGHT_TAKE(ov_get_last_err_msg);
  LOOPWRIGHT_TAKE(ov_free);
  LOOPWRIGHT_TAKE(ov_core_create);
  LOOPWRIGHT_TAKE(ov_core_read_model);
  LOOPWRIGHT_TAKE(ov_core_compile_model);
  LOOPWRIGHT_TAKE(ov_model_free);
  LOOPWRIGHT_TAKE(ov_compiled_model_free);
  LOOPWRIGHT_TAKE(ov_compiled_model_inputs_size);
  LOOPWRIGHT_TAKE(ov_compiled_model_outputs_size);
  LOOPWRIGHT_TAKE(ov_compiled_model_input_by_index);
  LOOPWRIGHT_TAKE(ov_compiled_model_output_by_index);
  LOOPWRIGHT_TAKE(ov_compiled_model_create_infer_request);
  LOOPWRIGHT_TAKE(ov_output_const_port_free);
  LOOPWRIGHT_TAKE(ov_port_get_any_name);
  LOOPWRIGHT_TAKE(ov_port_get_element_type);
  LOOPWRIGHT_TAKE(ov_port_get_partial_shape);
  LOOPWRIGHT_TAKE(ov_partial_shape_free);
  LOOPWRIGHT_TAKE(ov_shape_create);
  LOOPWRIGHT_TAKE(ov_shape_free);
  LOOPWRIGHT_TAKE(ov_infer_request_set_input_tensor_by_index);
  LOOPWRIGHT_TAKE(ov_infer_request_get_output_tensor_by_index);
  LOOPWRIGHT_TAKE(ov_infer_request_infer);
  LOOPWRIGHT_TAKE(ov_infer_request_free);
  LOOPWRIGHT_TAKE(ov_tensor_create_from_host_ptr);
  LOOPWRIGHT_TAKE(ov_tensor_get_shape);
  LOOPWRIGHT_TAKE(ov_tensor_data);
  LOOPWRIGHT_TAKE(ov_tensor_free);
#undef LOOPWRIGHT_TAKE
  VersionText version{};
  check(api, api.ov_get_openvino_version(&version));
  if (!version.build || std::atoi(version.build) < kOldestYear)
    throw Error(ErrorKind::kUnavailable, std::string("OpenVINO ") + (version.build ? version.build : "?") +
                                             " is too old; 2026.0 or later is needed");
  return api;
}

const Api& api_of(const std::string& path) {
  static std::mutex mutex;
  static std::unique_ptr<const Api> loaded;  // once for the process
  const std::lock_guard lock(mutex);
  if (!loaded) loaded = std::make_unique<const Api>(load_api(path));
  return *loaded;
}

// OpenVINO's core of the process.
Core core_of(const Api& api) {
  static std::once_flag once;
  static Core core = nullptr;
  std::call_once(once, [&api] { check(api, api.ov_core_create(&core)); });
  return core;
}

// An object of OpenVINO that is freed at the end.
template <class T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, void (*)(T)>;

struct Options {
  std::string path, device;
  int threads;
};

Owned<Compiled> compiled(const Api& api, const Options& options) {
  ModelRef model = nullptr;
  check(api, api.ov_core_read_model(core_of(api), options.path.c_str(), nullptr, &model));
  const Owned<ModelRef> owner(model, api.ov_model_free);
  Compiled result = nullptr;
  const std::string threads = std::to_string(options.threads);
  if (options.device == "CPU") {
    check(api,
          api.ov_core_compile_model(core_of(api), model, "CPU", 10, &result, "INFERENCE_NUM_THREADS", threads.c_str(),
                                    "NUM_STREAMS", "1", "PERFORMANCE_HINT", "LATENCY", "ENABLE_CPU_PINNING", "NO",
                                    // The default is bfloat16 on CPUs with instructions for it.
                                    "INFERENCE_PRECISION_HINT", "f32"));
  } else {
    check(api, api.ov_core_compile_model(core_of(api), model, options.device.c_str(), 0, &result));
  }
  return Owned<Compiled>(result, api.ov_compiled_model_free);
}

template <class Count, class At>
std::vector<TensorSpec> specs(const Api& api, Compiled model, Count count_of, At at) {
  size_t count = 0;
  check(api, count_of(model, &count));
  std::vector<TensorSpec> result;
  for (size_t i = 0; i < count; ++i) {
    Port port = nullptr;
    check(api, at(model, i, &port));
    const Owned<Port> owner(port, api.ov_output_const_port_free);
    char* name = nullptr;
    check(api, api.ov_port_get_any_name(port, &name));
    TensorSpec spec{name, DataType::kFp32, {}};
    api.ov_free(name);
    int element = 0;
    check(api, api.ov_port_get_element_type(port, &element));
    spec.type = type_of(element);
    PartialShape shape{};
    check(api, api.ov_port_get_partial_shape(port, &shape));
    const bool has_rank = shape.rank.least == shape.rank.most;
    for (int64_t axis = 0; has_rank && axis < shape.rank.least; ++axis)
      spec.shape.push_back(shape.dims[axis].least == shape.dims[axis].most ? shape.dims[axis].least : -1);
    api.ov_partial_shape_free(&shape);
    if (!has_rank) throw Error(ErrorKind::kUnimplemented, "'" + spec.name + "' has an open number of dimensions");
    result.push_back(std::move(spec));
  }
  return result;
}

class OpenvinoInstance : public Instance {
 public:
  OpenvinoInstance(const Api& api, const Options& options, const CoreSet& cores, const std::vector<TensorSpec>& outputs)
      : api_(api),
        model_(nullptr, api.ov_compiled_model_free),
        request_(nullptr, api.ov_infer_request_free),
        outputs_(outputs) {
    const OnCores scope(cores);  // its threads inherit them
    model_ = compiled(api, options);
    InferRequest request = nullptr;
    check(api, api.ov_compiled_model_create_infer_request(model_.get(), &request));
    request_.reset(request);
  }

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) override {
    std::vector<Owned<TensorRef>> arguments;  // until the end of the run
    for (size_t i = 0; i < inputs.size(); ++i) {
      arguments.push_back(tensor_of(inputs[i]));
      check(api_, api_.ov_infer_request_set_input_tensor_by_index(request_.get(), i, arguments.back().get()));
    }
    check(api_, api_.ov_infer_request_infer(request_.get()));
    std::vector<Tensor> outputs;
    for (size_t i = 0; i < outputs_.size(); ++i) outputs.push_back(output(i));
    return outputs;
  }

 private:
  Owned<TensorRef> tensor_of(const Tensor& tensor) const {
    Shape shape{};
    check(api_, api_.ov_shape_create(static_cast<int64_t>(tensor.shape().size()), tensor.shape().data(), &shape));
    TensorRef made = nullptr;
    const int status =
        api_.ov_tensor_create_from_host_ptr(element_of(tensor.type()), shape, const_cast<void*>(tensor.data()), &made);
    api_.ov_shape_free(&shape);
    check(api_, status);
    return Owned<TensorRef>(made, api_.ov_tensor_free);
  }

  // A copy, because the next run writes to the same memory.
  Tensor output(size_t place) const {
    TensorRef tensor = nullptr;
    check(api_, api_.ov_infer_request_get_output_tensor_by_index(request_.get(), place, &tensor));
    const Owned<TensorRef> owner(tensor, api_.ov_tensor_free);
    Shape shape{};
    check(api_, api_.ov_tensor_get_shape(tensor, &shape));
    std::vector<int64_t> sizes(shape.dims, shape.dims + shape.rank);
    api_.ov_shape_free(&shape);
    void* data = nullptr;
    check(api_, api_.ov_tensor_data(tensor, &data));
    const DataType type = outputs_[place].type;
    const auto bytes = static_cast<size_t>(element_count(sizes)) * element_bytes(type);
    return Tensor::of(type, std::move(sizes), std::string(static_cast<const char*>(data), bytes));
  }

  const Api& api_;
  Owned<Compiled> model_;
  Owned<InferRequest> request_;
  const std::vector<TensorSpec>& outputs_;
};

class OpenvinoModel : public RuntimeModel {
 public:
  OpenvinoModel(const Api& api, Options options, std::vector<int64_t> batches)
      : api_(api), options_(std::move(options)), batches_(std::move(batches)) {
    const Owned<Compiled> model = compiled(api, options_);
    inputs_ = specs(api, model.get(), api.ov_compiled_model_inputs_size, api.ov_compiled_model_input_by_index);
    outputs_ = specs(api, model.get(), api.ov_compiled_model_outputs_size, api.ov_compiled_model_output_by_index);
    if (!batches_.empty()) check_batches(inputs_);
  }
  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  std::vector<int64_t> batches() const override { return batches_; }
  std::unique_ptr<Instance> instance(const CoreSet& cores) override {
    return std::make_unique<OpenvinoInstance>(api_, options_, cores, outputs_);
  }

 private:
  const Api& api_;
  const Options options_;
  const std::vector<int64_t> batches_;
  std::vector<TensorSpec> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<RuntimeModel> load_openvino(const std::vector<std::string>& paths, const LoadOptions& options) {
  check_parameters(options, "openvino", "device");
  const Api& api = api_of(library_of(options, "openvino", "libopenvino_c.so"));
  const auto device = options.parameters.find("device");
  return std::make_unique<OpenvinoModel>(
      api, Options{paths.front(), device == options.parameters.end() ? "CPU" : device->second, options.threads},
      options.batches);
}

}  // namespace loopwright::serving
