#include "loopwright/model.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/reflection/registry.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "generated_code.h"
#include "loopwright/topology.h"
#include "program.h"
#include "program_library.h"
#include "user_operators.h"

namespace loopwright {
namespace {

using tvm::ffi::Any;
using tvm::ffi::AnyView;
using tvm::ffi::Array;
using tvm::ffi::String;
using tvm::ffi::Tensor;

namespace json = tvm::ffi::json;

// Formats of saved models that can be read; compiler/program/saved_model.py gets the newest one, which it writes, from
// here. Format 5 added segments, format 6 ranges of sizes, format 7 whether subnormal numbers are kept,
// format 8 weights of int8, format 9 tensors of 8-bit integers between layers, format 10 weights of bfloat16, format 11 weights of
// few bits, format 12 operators of users, format 13 tensors of bfloat16 between layers, and sums that
// are rounded before the residual.
constexpr int64_t kOldestFormat = 4;
constexpr int64_t kFormat = 13;

// A file mapped into memory. Pages are read on first access.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status{};
    if (file >= 0 && fstat(file, &status) == 0) {
      bytes_ = static_cast<size_t>(status.st_size);
      // Private and writable, because tensors are writable and the file must not change.
      if (bytes_ > 0) data_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    }
    if (file >= 0) close(file);
    if (file < 0 || data_ == MAP_FAILED) throw std::runtime_error("cannot read " + path);
  }
  ~MappedFile() {
    if (data_) munmap(data_, bytes_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  char* data() const { return static_cast<char*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Allocator of tensors that are views of a mapped file and keep it mapped.
struct FileAllocator {
  std::shared_ptr<MappedFile> file;
  void AllocData(DLTensor* tensor, int64_t offset) { tensor->data = file->data() + offset; }
  void FreeData(DLTensor*) {}
};

std::runtime_error broken(const std::string& what) { return std::runtime_error("manifest.json: " + what); }

template <class T>
T entry(const json::Object& object, const char* key) {
  const auto found = object.find(String(key));
  if (found == object.end()) throw broken(std::string("has no ") + key);
  const auto value = (*found).second.template try_cast<T>();
  if (!value) throw broken(std::string(key) + " has the wrong type");
  return *value;
}

std::vector<int64_t> shape_of(const json::Object& object) {
  std::vector<int64_t> shape;
  for (const Any& size : entry<json::Array>(object, "shape")) {
    const auto number = size.try_cast<int64_t>();
    if (!number || *number < 0 || *number >= int64_t{1} << 40) throw broken("a shape has an invalid dimension");
    shape.push_back(*number);
  }
  return shape;
}

json::Object object(const Any& value) {
  const auto entries = value.try_cast<json::Object>();
  if (!entries) throw broken("an object is expected");
  return *entries;
}

std::vector<TensorSpec> specs(const json::Object& manifest, const char* key) {
  std::vector<TensorSpec> result;
  for (const Any& value : entry<json::Array>(manifest, key)) {
    const json::Object spec = object(value);
    result.push_back(
        {entry<String>(spec, "name"), tvm::ffi::StringToDLDataType(entry<String>(spec, "dtype")), shape_of(spec)});
  }
  return result;
}

// Before format 8, all weights were float32.
DLDataType dtype_of_weight(const json::Object& weight) {
  if (weight.find(String("dtype")) == weight.end()) return {kDLFloat, 32, 1};
  const std::string dtype = entry<String>(weight, "dtype");
  if (dtype == "float32") return {kDLFloat, 32, 1};
  if (dtype == "int8") return {kDLInt, 8, 1};
  if (dtype == "uint8") return {kDLUInt, 8, 1};    // numbers of few bits
  if (dtype == "uint16") return {kDLUInt, 16, 1};  // the bits of bfloat16
  throw broken("a weight is of " + dtype);
}

Array<Tensor> weights(const json::Object& manifest, const std::string& path) {
  const auto file = std::make_shared<MappedFile>(path);
  Array<Tensor> tensors;
  for (const Any& value : entry<json::Array>(manifest, "weights")) {
    const json::Object weight = object(value);
    const auto offset = entry<int64_t>(weight, "offset");
    const std::vector<int64_t> shape = shape_of(weight);
    const DLDataType dtype = dtype_of_weight(weight);
    size_t left = file->bytes();
    if (offset < 0 || static_cast<size_t>(offset) > left || offset % static_cast<int64_t>(sizeof(float)) != 0)
      throw broken("a weight is outside of weights.bin");
    left = (left - static_cast<size_t>(offset)) / (dtype.bits / 8);
    for (const int64_t size : shape) {
      if (size < 1) throw broken("a weight is empty");
      left /= static_cast<size_t>(size);
    }
    if (left == 0) throw broken("a weight is outside of weights.bin");
    tensors.push_back(Tensor::FromNDAlloc(FileAllocator{file}, tvm::ffi::ShapeView(shape.data(), shape.size()), dtype,
                                          DLDevice{kDLCPU, 0}, offset));
  }
  return tensors;
}

json::Object read_manifest(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::ostringstream text;
  text << file.rdbuf();
  String error;
  const Any parsed = json::Parse(text.str(), &error);
  if (!error.empty()) throw broken("is not valid JSON: " + std::string(error));
  json::Object manifest = object(parsed);
  const auto format = entry<int64_t>(manifest, "format");
  if (format < kOldestFormat || format > kFormat)
    throw broken("is of format " + std::to_string(format) + "; this version reads formats " +
                 std::to_string(kOldestFormat) + " to " + std::to_string(kFormat));
  if (format >= 5 && !entry<json::Array>(manifest, "segments").empty())
    throw std::runtime_error("the model has segments that ONNX Runtime runs, which C++ does not support");
  if (format >= 6 && !entry<json::Array>(manifest, "sizes").empty())
    throw std::runtime_error("the model is for ranges of sizes, which C++ does not support; build it for fixed sizes");
  return manifest;
}

// Whether the program keeps subnormal numbers, as all programs did before format 7.
bool ieee(const json::Object& manifest) {
  return entry<int64_t>(manifest, "format") < 7 || entry<bool>(manifest, "ieee");
}

int built_threads(const json::Object& manifest) {
  const auto threads = entry<int64_t>(manifest, "threads");
  if (threads < 1 || threads > INT32_MAX) throw broken("threads must be at least 1");
  return static_cast<int>(threads);
}

// Returns the number of threads that run a model here; see Model::load().
int threads_here(int built, int wanted) {
  const int most = usable_cores();
  if (wanted < 0 || wanted > most)
    throw std::invalid_argument("threads must be between 1 and " + std::to_string(most) +
                                " (the cores this process may use), or 0 for the default; got " +
                                std::to_string(wanted));
  if (wanted > 0) return wanted;
  return built <= most ? built : Topology::read().default_threads();
}

// Returns the descriptions of layers for another number of threads: layers that use all threads use all of these. Those on
// fewer do not become faster with more. A schedule divides the work among as many threads as it was made for.
json::Array on_threads(const json::Array& layers, int built, int threads) {
  if (threads == built) return layers;
  json::Array changed;
  for (const Any& value : layers) {
    json::Object layer = object(value);
    const auto own = entry<int64_t>(layer, "threads"), other = own == built ? threads : std::min<int64_t>(own, threads);
    if (other != own) {
      layer.Set(String("threads"), other);  // on a copy
      layer.Set(String("schedule"), nullptr);
    }
    changed.push_back(layer);
  }
  return changed;
}

loopwright::Machine machine(const json::Object& manifest, int threads, std::shared_ptr<const UserOperators> operators) {
  const Isa isa = parse_isa(entry<String>(manifest, "isa"));
  const auto& available = available_isas();
  if (std::find(available.begin(), available.end(), isa) == available.end())
    throw std::runtime_error(std::string("the model was compiled for ") + name(isa) + "; this CPU does not support it");
  return {isa, threads_here(built_threads(manifest), threads), std::move(operators)};
}

bool is_like(const Tensor& tensor, const TensorSpec& spec) {
  const auto shape = tensor.shape();
  const DLDataType dtype = tensor.dtype();
  return dtype.code == spec.dtype.code && dtype.bits == spec.dtype.bits && dtype.lanes == spec.dtype.lanes &&
         std::equal(shape.begin(), shape.end(), spec.shape.begin(), spec.shape.end());
}

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef().def("loopwright.saved_model_formats",
                                        [] { return Array<int64_t>{kOldestFormat, kFormat}; });
}

}  // namespace

struct Model::State {
  std::vector<TensorSpec> inputs, outputs;
  Program program;
};

Model Model::load(const std::string& folder, int threads, const std::vector<std::string>& operators) {
  const json::Object manifest = read_manifest(folder + "/manifest.json");
  const loopwright::Machine here = machine(manifest, threads, UserOperators::load(operators));
  share_thread_pool();
  Layers layers =
      Layers::make(on_threads(entry<json::Array>(manifest, "layers"), built_threads(manifest), here.threads),
                   weights(manifest, folder + "/weights.bin"), here);
  const tvm::ffi::Module executable = load_library(folder + "/program.so");
  Program program(tvm::ffi::make_object<ProgramObj>(executable, std::move(layers), ieee(manifest)));
  return Model(std::make_shared<State>(State{specs(manifest, "inputs"), specs(manifest, "outputs"), program}));
}

const std::vector<TensorSpec>& Model::inputs() const { return state_->inputs; }

const std::vector<TensorSpec>& Model::outputs() const { return state_->outputs; }

Tensor Model::tensor(const TensorSpec& spec) {
  return aligned_tensor(tvm::ffi::ShapeView(spec.shape.data(), spec.shape.size()), spec.dtype);
}

std::vector<Tensor> Model::run(const std::vector<Tensor>& inputs) const {
  if (inputs.size() != state_->inputs.size())
    throw std::invalid_argument("the model takes " + std::to_string(state_->inputs.size()) + " inputs, got " +
                                std::to_string(inputs.size()));
  std::vector<AnyView> arguments;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_like(inputs[i], state_->inputs[i]))
      throw std::invalid_argument("input " + state_->inputs[i].name + " has the wrong type or shape");
    arguments.emplace_back(inputs[i]);
  }
  std::vector<Tensor> outputs;
  for (const Any& output : state_->program->run(arguments.data(), static_cast<int>(arguments.size())))
    outputs.push_back(output.cast<Tensor>());
  return outputs;
}

}  // namespace loopwright
