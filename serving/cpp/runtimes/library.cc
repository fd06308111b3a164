// Runtimes of users: shared libraries with the interface of user_runtime.h.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "loopwright/serving/error.h"
#include "loopwright/serving/user_runtime.h"
#include "runtimes/open_copy.h"
#include "runtimes/runtimes.h"

namespace loopwright::serving {
namespace {

constexpr int32_t kMostTensors = 1024, kMostRank = 64;
constexpr int32_t kWrongRequest = -1;

static_assert(static_cast<int>(DataType::kBool) == LOOPWRIGHT_BOOL &&
              static_cast<int>(DataType::kFp32) == LOOPWRIGHT_FP32 &&
              static_cast<int>(DataType::kBytes) == LOOPWRIGHT_BYTES);

std::runtime_error wrong(const std::string& what) { return std::runtime_error("the library " + what); }

// The functions of a library, which stays loaded: its code may have threads.
const LoopwrightRuntime& open(const std::string& path) {
  void* library = open_copy(path);
  const auto entry = reinterpret_cast<decltype(&loopwright_runtime)>(dlsym(library, "loopwright_runtime"));
  if (!entry) throw wrong("does not export loopwright_runtime");
  const LoopwrightRuntime* runtime = entry(LOOPWRIGHT_RUNTIME_ABI);
  if (!runtime || runtime->abi != LOOPWRIGHT_RUNTIME_ABI)
    throw wrong("has no interface of version " + std::to_string(LOOPWRIGHT_RUNTIME_ABI));
  if (!runtime->load || !runtime->inputs || !runtime->outputs || !runtime->run || !runtime->close)
    throw wrong("lacks a function of its interface");
  return *runtime;
}

class ErrorText {
 public:
  LoopwrightError* get() { return &error_; }
  std::string text() {
    buffer_.back() = '\0';
    return buffer_.front() ? buffer_.data() : "it gave no reason";
  }

 private:
  std::array<char, 1024> buffer_{};
  LoopwrightError error_{buffer_.data(), buffer_.size()};
};

std::vector<TensorSpec> specs_of(int32_t count, const LoopwrightTensorSpec* specs, const char* what) {
  if (count < 0 || count > kMostTensors || (count > 0 && !specs)) throw wrong(std::string("has no valid ") + what);
  std::vector<TensorSpec> result;
  for (int32_t i = 0; i < count; ++i) {
    const LoopwrightTensorSpec& spec = specs[i];
    const bool is_valid = spec.name && spec.type >= LOOPWRIGHT_BOOL && spec.type <= LOOPWRIGHT_BYTES &&
                          spec.rank >= 0 && spec.rank <= kMostRank && (spec.rank == 0 || spec.shape);
    if (!is_valid) throw wrong(std::string("has no valid ") + what);
    result.push_back({spec.name, static_cast<DataType>(spec.type), {spec.shape, spec.shape + spec.rank}});
  }
  return result;
}

// A loaded model. It is closed by its destructor.
class Loaded {
 public:
  Loaded(const LoopwrightRuntime& runtime, const std::string& folder, const LoadOptions& options) : runtime_(runtime) {
    std::vector<LoopwrightParameter> parameters;
    for (const auto& [name, value] : options.parameters) parameters.push_back({name.c_str(), value.c_str()});
    const LoopwrightLoad load{folder.c_str(), options.threads, static_cast<int32_t>(parameters.size()),
                              parameters.data()};
    ErrorText error;
    if (runtime.load(&load, &model_, error.get()) != 0) throw std::runtime_error(error.text());
  }
  ~Loaded() { runtime_.close(model_); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

  std::vector<TensorSpec> inputs() const {
    const LoopwrightTensorSpec* specs = nullptr;
    const int32_t count = runtime_.inputs(model_, &specs);
    return specs_of(count, specs, "inputs");
  }
  std::vector<TensorSpec> outputs() const {
    const LoopwrightTensorSpec* specs = nullptr;
    const int32_t count = runtime_.outputs(model_, &specs);
    return specs_of(count, specs, "outputs");
  }
  int32_t run(const std::vector<LoopwrightTensor>& inputs, const LoopwrightOutputs& outputs,
              LoopwrightError* error) const {
    return runtime_.run(model_, inputs.data(), &outputs, error);
  }

 private:
  const LoopwrightRuntime& runtime_;
  void* model_ = nullptr;
};

// The outputs of one run.
class Outputs {
 public:
  explicit Outputs(const std::vector<TensorSpec>& specs) : specs_(specs), tensors_(specs.size()) {}

  LoopwrightOutputs interface() { return {this, &Outputs::allocate}; }
  std::vector<Tensor> take() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (!tensors_[i]) throw wrong("wrote no output '" + specs_[i].name + "'");
      check_bytes(tensors_[i]->type(), tensors_[i]->shape(), tensors_[i]->view());
    }
    std::vector<Tensor> result;
    for (auto& tensor : tensors_) result.push_back(std::move(*tensor));
    return result;
  }

 private:
  static void* allocate(void* context, int32_t output, int32_t rank, const int64_t* shape, uint64_t bytes) try {
    auto& self = *static_cast<Outputs*>(context);
    const auto place = static_cast<size_t>(output);
    const bool is_valid = output >= 0 && place < self.specs_.size() && !self.tensors_[place] && rank >= 0 &&
                          rank <= kMostRank && (rank == 0 || shape);
    if (!is_valid) return nullptr;
    const TensorSpec& spec = self.specs_[place];
    std::vector<int64_t> sizes(shape, shape + rank);
    for (size_t i = 0; i < sizes.size() && i < spec.shape.size(); ++i)
      if (spec.shape[i] >= 0 && spec.shape[i] != sizes[i]) return nullptr;
    const auto count = static_cast<uint64_t>(element_count(sizes));
    if (spec.shape.size() != sizes.size() ||
        (spec.type != DataType::kBytes && bytes != count * element_bytes(spec.type)))
      return nullptr;
    auto owner = std::shared_ptr<char[]>(new char[bytes]());
    void* data = owner.get();
    self.tensors_[place].emplace(spec.type, std::move(sizes), std::move(owner), data, bytes);
    return data;
  } catch (const std::exception&) {  // no exception may pass through C
    return nullptr;
  }

  const std::vector<TensorSpec>& specs_;
  std::vector<std::optional<Tensor>> tensors_;
};

class LibraryInstance : public Instance {
 public:
  LibraryInstance(std::unique_ptr<Loaded> model, const std::vector<TensorSpec>& outputs)
      : model_(std::move(model)), outputs_(outputs) {}

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) override {
    std::vector<LoopwrightTensor> arguments;
    for (const Tensor& input : inputs)
      arguments.push_back({static_cast<int32_t>(input.type()), static_cast<int32_t>(input.shape().size()),
                           input.shape().data(), input.data(), input.bytes()});
    Outputs outputs(outputs_);
    ErrorText error;
    const int32_t status = model_->run(arguments, outputs.interface(), error.get());
    if (status == kWrongRequest) throw invalid(error.text());
    if (status != 0) throw std::runtime_error(error.text());
    return outputs.take();
  }

 private:
  const std::unique_ptr<Loaded> model_;
  const std::vector<TensorSpec>& outputs_;
};

class LibraryModel : public RuntimeModel {
 public:
  LibraryModel(const std::string& path, const LoadOptions& options)
      : runtime_(open(path)), folder_(std::filesystem::path(path).parent_path()), options_(options) {
    first_ = std::make_unique<Loaded>(runtime_, folder_, options_);
    inputs_ = first_->inputs();
    outputs_ = first_->outputs();
    if (!options_.batches.empty()) check_batches(inputs_);
  }
  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  std::vector<int64_t> batches() const override { return options_.batches; }
  std::unique_ptr<Instance> instance(const CoreSet&) override {
    auto model = first_ ? std::move(first_) : std::make_unique<Loaded>(runtime_, folder_, options_);
    return std::make_unique<LibraryInstance>(std::move(model), outputs_);
  }

 private:
  const LoopwrightRuntime& runtime_;
  const std::string folder_;
  const LoadOptions options_;
  std::unique_ptr<Loaded> first_;  // of the first instance
  std::vector<TensorSpec> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<RuntimeModel> load_library(const std::vector<std::string>& paths, const LoadOptions& options) {
  return std::make_unique<LibraryModel>(paths.front(), options);
}

}  // namespace loopwright::serving
