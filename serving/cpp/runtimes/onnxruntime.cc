// ONNX models in ONNX Runtime.
#include <array>
#include <cstring>
#include <mutex>

#include "core/on_cores.h"
#include "loopwright/serving/error.h"
#include "runtimes/onnxruntime_api.h"
#include "runtimes/runtimes.h"

namespace loopwright::serving {
namespace {

using ort::Api;
using ort::check;

constexpr int kErrors = 3;  // the severity that is logged

struct TypeRow {
  int element;
  DataType type;
};
constexpr std::array<TypeRow, 14> kTypes{{{ort::kFloat, DataType::kFp32},
                                          {ort::kUint8, DataType::kUint8},
                                          {ort::kInt8, DataType::kInt8},
                                          {ort::kUint16, DataType::kUint16},
                                          {ort::kInt16, DataType::kInt16},
                                          {ort::kInt32, DataType::kInt32},
                                          {ort::kInt64, DataType::kInt64},
                                          {ort::kString, DataType::kBytes},
                                          {ort::kBool, DataType::kBool},
                                          {ort::kFloat16, DataType::kFp16},
                                          {ort::kDouble, DataType::kFp64},
                                          {ort::kUint32, DataType::kUint32},
                                          {ort::kUint64, DataType::kUint64},
                                          {ort::kBfloat16, DataType::kBf16}}};

DataType type_of(int element) {
  for (const TypeRow& row : kTypes)
    if (row.element == element) return row.type;
  throw Error(ErrorKind::kUnimplemented, "a tensor of the model has a data type that the protocol does not have");
}

int element_of(DataType type) {
  for (const TypeRow& row : kTypes)
    if (row.type == type) return row.element;
  throw Error(ErrorKind::kInternal, "a data type has no number in ONNX");
}

ort::Env* environment(const Api& api) {
  static std::once_flag once;
  static ort::Env* env = nullptr;  // of the process; it lives to its end
  std::call_once(once, [&api] { check(api, api.create_env(kErrors, "loopwright", &env)); });
  return env;
}

std::vector<int64_t> shape_of(const Api& api, const ort::TensorInfo* info) {
  size_t rank = 0;
  check(api, api.rank(info, &rank));
  std::vector<int64_t> shape(rank);
  check(api, api.shape(info, shape.data(), rank));
  return shape;
}

// What the sessions of a model have in common.
struct Source {
  std::string path;
  std::vector<std::string> operators;  // libraries of custom operators, which stay loaded to the end of the process
};

// A session with its options. The threads that it starts inherit the cores of the thread that makes it.
class Session {
 public:
  Session(const Api& api, const Source& source, int threads) : api_(api) {
    ort::SessionOptions* options = nullptr;
    check(api, api.create_session_options(&options));
    try {
      check(api, api.set_intra_op_threads(options, threads));
      for (const std::string& library : source.operators) {
        void* handle = nullptr;
        check(api, api.register_operators(options, library.c_str(), &handle));
      }
      check(api, api.create_session(environment(api), source.path.c_str(), options, &session_));
    } catch (...) {
      api.release_session_options(options);
      throw;
    }
    api.release_session_options(options);
  }
  ~Session() { api_.release_session(session_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  std::vector<TensorSpec> inputs() const { return specs(api_.input_count, api_.input_name, api_.input_type); }
  std::vector<TensorSpec> outputs() const { return specs(api_.output_count, api_.output_name, api_.output_type); }
  ort::Session* get() const { return session_; }

 private:
  template <class Count, class Name, class Type>
  std::vector<TensorSpec> specs(Count count_of, Name name_of, Type type_of_place) const {
    ort::Allocator* allocator = nullptr;
    check(api_, api_.default_allocator(&allocator));
    size_t count = 0;
    check(api_, count_of(session_, &count));
    std::vector<TensorSpec> result;
    for (size_t i = 0; i < count; ++i) {
      char* name = nullptr;
      check(api_, name_of(session_, i, allocator, &name));
      TensorSpec spec{name, DataType::kFp32, {}};
      check(api_, api_.free(allocator, name));
      ort::TypeInfo* type = nullptr;
      check(api_, type_of_place(session_, i, &type));
      const ort::TensorInfo* info = nullptr;
      check(api_, api_.tensor_info(type, &info));
      if (!info) {
        api_.release_type_info(type);
        throw Error(ErrorKind::kUnimplemented, "'" + spec.name + "' is not a tensor");
      }
      int element = 0;
      check(api_, api_.element_type(info, &element));
      spec.type = type_of(element);
      spec.shape = shape_of(api_, info);
      api_.release_type_info(type);
      result.push_back(std::move(spec));
    }
    return result;
  }

  const Api& api_;
  ort::Session* session_ = nullptr;
};

// Values of one run, released at the end.
class Values {
 public:
  Values(const Api& api, size_t count) : api_(api), values_(count) {}
  ~Values() {
    for (ort::Value* value : values_)
      if (value) api_.release_value(value);
  }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;

  ort::Value*& operator[](size_t place) { return values_[place]; }
  ort::Value** data() { return values_.data(); }
  // Gives a value away.
  ort::Value* take(size_t place) { return std::exchange(values_[place], nullptr); }

 private:
  const Api& api_;
  std::vector<ort::Value*> values_;
};

class OrtInstance : public Instance {
 public:
  OrtInstance(const Api& api, const Source& source, const CoreSet& cores, const std::vector<TensorSpec>& inputs,
              const std::vector<TensorSpec>& outputs)
      : api_(api), session_(make(api, source, cores)), outputs_(outputs) {
    for (const TensorSpec& spec : inputs) input_names_.push_back(spec.name.c_str());
    for (const TensorSpec& spec : outputs) output_names_.push_back(spec.name.c_str());
    check(api, api.cpu_memory(
                   1, 0, &memory_));  // of the arena; default memory. It is small, and lives as long as the process.
  }

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) override {
    Values arguments(api_, inputs.size()), results(api_, output_names_.size());
    for (size_t i = 0; i < inputs.size(); ++i) arguments[i] = value_of(inputs[i]);
    check(api_, api_.run(session_->get(), nullptr, input_names_.data(), arguments.data(), inputs.size(),
                         output_names_.data(), output_names_.size(), results.data()));
    std::vector<Tensor> outputs;
    for (size_t i = 0; i < output_names_.size(); ++i) outputs.push_back(tensor_of(results.take(i)));
    return outputs;
  }

 private:
  static std::unique_ptr<Session> make(const Api& api, const Source& source, const CoreSet& cores) {
    const OnCores scope(cores);
    return std::make_unique<Session>(api, source, static_cast<int>(cores.size()));
  }

  ort::Value* value_of(const Tensor& tensor) const {
    const auto& shape = tensor.shape();
    ort::Value* value = nullptr;
    if (tensor.type() != DataType::kBytes) {
      check(api_, api_.wrap_tensor(memory_, const_cast<void*>(tensor.data()), tensor.bytes(), shape.data(),
                                   shape.size(), element_of(tensor.type()), &value));
      return value;
    }
    ort::Allocator* allocator = nullptr;
    check(api_, api_.default_allocator(&allocator));
    std::vector<std::string> texts;
    for (std::string_view data = tensor.view(); !data.empty();) {
      uint32_t length;
      std::memcpy(&length, data.data(), sizeof(length));
      texts.emplace_back(data.substr(sizeof(length), length));
      data.remove_prefix(sizeof(length) + length);
    }
    std::vector<const char*> pointers;
    for (const std::string& text : texts) {
      if (text.find('\0') != std::string::npos)
        throw Error(ErrorKind::kInvalidArgument, "ONNX Runtime takes no strings with a zero byte");
      pointers.push_back(text.c_str());
    }
    check(api_, api_.create_tensor(allocator, shape.data(), shape.size(), ort::kString, &value));
    check(api_, api_.fill_strings(value, pointers.data(), pointers.size()));
    return value;
  }

  // Takes the value, which the tensor keeps.
  Tensor tensor_of(ort::Value* value) const {
    const std::shared_ptr<ort::Value> owner(value, [api = &api_](ort::Value* v) { api->release_value(v); });
    ort::TensorInfo* info = nullptr;
    check(api_, api_.value_info(value, &info));
    int element = 0;
    check(api_, api_.element_type(info, &element));
    std::vector<int64_t> shape = shape_of(api_, info);
    api_.release_tensor_info(info);
    const DataType type = type_of(element);
    const auto count = static_cast<size_t>(element_count(shape));
    if (type == DataType::kBytes) return Tensor::of(type, std::move(shape), strings_of(value, count));
    void* data = nullptr;
    check(api_, api_.tensor_data(value, &data));
    return Tensor(type, std::move(shape), owner, data, count * element_bytes(type));
  }

  std::string strings_of(const ort::Value* value, size_t count) const {
    size_t bytes = 0;
    check(api_, api_.strings_bytes(value, &bytes));
    std::string all(bytes, '\0');
    std::vector<size_t> offsets(count);
    check(api_, api_.strings(value, all.data(), bytes, offsets.data(), count));
    std::string result;
    for (size_t i = 0; i < count; ++i) {
      const auto length = static_cast<uint32_t>((i + 1 < count ? offsets[i + 1] : bytes) - offsets[i]);
      result.append(reinterpret_cast<const char*>(&length), sizeof(length));
      result.append(all, offsets[i], length);
    }
    return result;
  }

  const Api& api_;
  const std::unique_ptr<Session> session_;
  const std::vector<TensorSpec>& outputs_;
  std::vector<const char*> input_names_, output_names_;
  ort::MemoryInfo* memory_ = nullptr;
};

class OrtModel : public RuntimeModel {
 public:
  OrtModel(const Api& api, Source source, std::vector<int64_t> batches)
      : api_(api), source_(std::move(source)), batches_(std::move(batches)) {
    const Session session(api, source_, 1);
    inputs_ = session.inputs();
    outputs_ = session.outputs();
    if (!batches_.empty()) check_batches(inputs_);
  }
  std::vector<int64_t> batches() const override { return batches_; }
  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  std::unique_ptr<Instance> instance(const CoreSet& cores) override {
    return std::make_unique<OrtInstance>(api_, source_, cores, inputs_, outputs_);
  }

 private:
  const Api& api_;
  const Source source_;
  const std::vector<int64_t> batches_;
  std::vector<TensorSpec> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<RuntimeModel> load_onnxruntime(const std::vector<std::string>& paths, const LoadOptions& options) {
  const auto provider = options.parameters.find("provider");
  if (provider != options.parameters.end() && provider->second != "CPU")
    throw invalid("parameters.provider '" + provider->second +
                  "' is not supported: ONNX Runtime runs on CPU here; OpenVINO has other devices");
  check_parameters(options, "onnxruntime", "provider");
  const ort::Api& api = ort::api(library_of(options, "onnxruntime", "libonnxruntime.so"));
  return std::make_unique<OrtModel>(api, Source{paths.front(), options.operators}, options.batches);
}

}  // namespace loopwright::serving
