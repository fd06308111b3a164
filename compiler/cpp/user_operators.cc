#include "user_operators.h"

#include <dlfcn.h>
#include <tvm/ffi/container/array.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace loopwright {
namespace {

namespace fs = std::filesystem;
namespace json = tvm::ffi::json;
using tvm::ffi::Any;
using tvm::ffi::String;

constexpr const char* kEntry = "loopwright_operators";
constexpr int64_t kMostBytes = int64_t{1} << 40;  // of a tensor
constexpr uint32_t kMostOperators = 4096;
constexpr size_t kErrorBytes = 1024;
// Their operators are compiled, or are calls of kernels.
constexpr std::array kTaken = {"", "ai.onnx", "loopwright", "loopwright.kernels"};

struct ElementRow {
  int32_t element;
  const char* name;
  DLDataType dtype;
};
constexpr ElementRow kElements[] = {
    {LOOPWRIGHT_FLOAT32, "float32", {kDLFloat, 32, 1}}, {LOOPWRIGHT_UINT8, "uint8", {kDLUInt, 8, 1}},
    {LOOPWRIGHT_INT8, "int8", {kDLInt, 8, 1}},          {LOOPWRIGHT_UINT16, "uint16", {kDLUInt, 16, 1}},
    {LOOPWRIGHT_INT16, "int16", {kDLInt, 16, 1}},       {LOOPWRIGHT_INT32, "int32", {kDLInt, 32, 1}},
    {LOOPWRIGHT_INT64, "int64", {kDLInt, 64, 1}},       {LOOPWRIGHT_BOOL, "bool", {kDLBool, 8, 1}},
    {LOOPWRIGHT_FLOAT16, "float16", {kDLFloat, 16, 1}}, {LOOPWRIGHT_FLOAT64, "float64", {kDLFloat, 64, 1}},
    {LOOPWRIGHT_UINT32, "uint32", {kDLUInt, 32, 1}},    {LOOPWRIGHT_UINT64, "uint64", {kDLUInt, 64, 1}}};

const ElementRow* row_of(int32_t element) {
  const auto* found = std::find_if(std::begin(kElements), std::end(kElements),
                                   [element](const ElementRow& row) { return row.element == element; });
  return found == std::end(kElements) ? nullptr : found;
}

// Returns what is wrong with a type; empty if it is valid.
std::string fault_of(const LoopwrightTensorType& type) {
  const ElementRow* row = row_of(type.element);
  if (!row) return "has the element type " + std::to_string(type.element) + ", which does not exist";
  if (type.axes < 0 || type.axes > LOOPWRIGHT_MOST_AXES)
    return "has " + std::to_string(type.axes) + " axes; 0 to " + std::to_string(LOOPWRIGHT_MOST_AXES) + " are possible";
  int64_t bytes = row->dtype.bits / 8;
  for (int32_t axis = 0; axis < type.axes; ++axis) {
    const int64_t size = type.sizes[axis];
    if (size < 0 || size > kMostBytes) return "has the size " + std::to_string(size);
    if (size > 0 && bytes > kMostBytes / size) return "has more than " + std::to_string(kMostBytes) + " bytes";
    bytes *= std::max<int64_t>(size, 1);
  }
  return "";
}

std::string title(const std::string& domain, const std::string& name) { return domain + "::" + name; }

std::invalid_argument invalid(const std::string& key, const char* wanted) {
  return std::invalid_argument(key + " must be " + wanted);
}

template <class T>
T entry(const json::Object& object, const char* key, const char* wanted) {
  const auto found = object.find(String(key));
  const auto value = found == object.end() ? std::nullopt : (*found).second.template try_cast<T>();
  if (!value) throw invalid(key, wanted);
  return *value;
}

template <class T>
std::vector<T> listed(const std::string& name, const Any& value, bool is_list) {
  const auto list = value.try_cast<json::Array>();
  if (is_list != list.has_value()) throw invalid("attribute " + name, is_list ? "a list" : "a single value");
  std::vector<T> values;
  const auto take = [&](const Any& element) {
    const auto found = element.try_cast<T>();
    if (!found) throw invalid("attribute " + name, "of its kind");
    values.push_back(*found);
  };
  if (!list) {
    take(value);
  } else {
    for (const Any& element : *list) take(element);
  }
  return values;
}

// Returns the table of a library. Throws std::invalid_argument with what is wrong with it.
const LoopwrightOperators& table_of(const std::string& path) {
  if (!fs::is_regular_file(path)) throw std::invalid_argument("there is no such file");
  // An absolute path, because the loader would look for a name without a slash in its own folders.
  void* library = dlopen(fs::absolute(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::invalid_argument("it cannot be loaded: " + std::string(dlerror()));
  const auto get = reinterpret_cast<const LoopwrightOperators* (*)(uint32_t)>(dlsym(library, kEntry));
  if (!get) throw std::invalid_argument(std::string("it does not export ") + kEntry);
  const LoopwrightOperators* table = get(LOOPWRIGHT_OPERATOR_VERSION);
  const std::string here = std::to_string(LOOPWRIGHT_OPERATOR_VERSION);
  if (!table) throw std::invalid_argument("it does not implement version " + here + " of loopwright/operator.h");
  if (table->version != LOOPWRIGHT_OPERATOR_VERSION)
    throw std::invalid_argument("it implements version " + std::to_string(table->version) +
                                " of loopwright/operator.h; this is version " + here);
  if (table->count < 1 || table->count > kMostOperators || !table->operators)
    throw std::invalid_argument("it has " + std::to_string(table->count) + " operators; 1 to " +
                                std::to_string(kMostOperators) + " are possible");
  return *table;
}

// Throws std::invalid_argument if an operator lacks something.
void check(const LoopwrightOperator& op) {
  if (!op.domain || !op.name || !*op.name) throw std::invalid_argument("an operator has no domain or no name");
  if (std::find_if(kTaken.begin(), kTaken.end(), [&](const char* taken) { return !std::strcmp(taken, op.domain); }) !=
      kTaken.end())
    throw std::invalid_argument("operator " + std::string(op.name) + " has the domain '" + op.domain +
                                "'; it must have a separate one, such as com.example");
  const std::string name = "operator " + title(op.domain, op.name);
  if (!op.infer || !op.run) throw std::invalid_argument(name + " has no function infer or run");
  const int64_t most = int64_t{op.most_inputs} + op.most_outputs;
  if (op.least_inputs < 0 || op.least_inputs > op.most_inputs || op.least_outputs < 1 ||
      op.least_outputs > op.most_outputs || most > LOOPWRIGHT_MOST_TENSORS)
    throw std::invalid_argument(name + " must have at least 1 output, and at most " +
                                std::to_string(LOOPWRIGHT_MOST_TENSORS) + " inputs and outputs");
}

// Calls a function of an operator. Throws std::invalid_argument with its text if it fails.
template <class F>
void called(const std::string& title, const F& function) {
  std::array<char, kErrorBytes> error{};
  int status = 0;
  try {
    status = function(error.data(), error.size());
  } catch (const std::exception& thrown) {  // of C++ that ignores the interface
    throw std::invalid_argument(title + ": " + thrown.what());
  }
  if (status == 0) return;
  error.back() = '\0';
  std::string reason = error.data();
  std::replace_if(reason.begin(), reason.end(), [](unsigned char c) { return c < ' '; }, ' ');
  throw std::invalid_argument(title + ": " + (reason.empty() ? "error " + std::to_string(status) : reason));
}

}  // namespace

std::shared_ptr<const UserOperators> UserOperators::load(const std::vector<std::string>& paths) {
  const auto result = std::make_shared<UserOperators>();
  for (const std::string& path : paths) {
    try {
      const LoopwrightOperators& table = table_of(path);
      for (uint32_t i = 0; i < table.count; ++i) {
        const LoopwrightOperator& op = table.operators[i];
        check(op);
        const auto [place, is_new] = result->operators_.emplace(std::pair(op.domain, op.name), &op);
        if (!is_new && place->second != &op)
          throw std::invalid_argument("operator " + title(op.domain, op.name) + " is in another library too");
      }
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument("library of operators " + path + ": " + error.what());
    }
  }
  return result;
}

const LoopwrightOperator* UserOperators::find(const std::string& domain, const std::string& name) const {
  const auto found = operators_.find({domain, name});
  return found == operators_.end() ? nullptr : found->second;
}

std::vector<std::pair<std::string, std::string>> UserOperators::names() const {
  std::vector<std::pair<std::string, std::string>> names;
  for (const auto& [name, op] : operators_) names.push_back(name);
  return names;
}

UserNode::UserNode(const json::Object& description, size_t outputs, const UserOperators* operators) {
  const std::string domain = entry<String>(description, "domain", "a text");
  const std::string name = entry<String>(description, "operator", "a text");
  title_ = title(domain, name);
  const LoopwrightOperator* found = operators ? operators->find(domain, name) : nullptr;
  if (!found)
    throw std::invalid_argument("it is the operator " + title_ +
                                ", which no given library has; give the library with `operators`");
  operator_ = found;
  for (const Any& value : entry<json::Array>(description, "inputs", "a list")) {
    const auto input = value.try_cast<json::Object>();
    if (!input && value != nullptr) throw invalid("inputs", "objects or null");
    inputs_.push_back(input ? tensor_type(*input) : LoopwrightTensorType{});
  }
  const auto within = [](size_t count, int32_t least, int32_t most) {
    return count >= static_cast<size_t>(least) && count <= static_cast<size_t>(most);
  };
  if (!within(inputs_.size(), operator_->least_inputs, operator_->most_inputs) ||
      !within(outputs, operator_->least_outputs, operator_->most_outputs))
    throw std::invalid_argument(
        title_ + " has " + std::to_string(operator_->least_inputs) + " to " + std::to_string(operator_->most_inputs) +
        " inputs and " + std::to_string(operator_->least_outputs) + " to " + std::to_string(operator_->most_outputs) +
        " outputs, got " + std::to_string(inputs_.size()) + " and " + std::to_string(outputs));
  for (const Any& value : entry<json::Array>(description, "attributes", "a list")) {
    const auto attribute = value.try_cast<json::Array>();
    const auto key = attribute && attribute->size() == 3 ? (*attribute)[0].try_cast<String>() : std::nullopt;
    if (!key) throw invalid("attributes", "lists of a name, a kind and a value");
    add(*key, (*attribute)[1], (*attribute)[2]);
  }
  node_ = {static_cast<int32_t>(attributes_.size()), static_cast<int32_t>(inputs_.size()),
           static_cast<int32_t>(outputs), attributes_.data(), inputs_.data()};
}

void UserNode::add(const std::string& name, const Any& kind, const Any& value) {
  LoopwrightAttribute made{texts_.emplace_back(name).c_str(), 0, 0, nullptr, nullptr, nullptr};
  made.kind = static_cast<int32_t>(kind.try_cast<int64_t>().value_or(0));
  switch (made.kind) {
    case LOOPWRIGHT_AN_INT:
    case LOOPWRIGHT_INTS: {
      const auto& ints = ints_.emplace_back(listed<int64_t>(name, value, made.kind == LOOPWRIGHT_INTS));
      made.ints = ints.data();
      made.count = static_cast<int64_t>(ints.size());
      break;
    }
    case LOOPWRIGHT_A_FLOAT:
    case LOOPWRIGHT_FLOATS: {
      const auto numbers = listed<double>(name, value, made.kind == LOOPWRIGHT_FLOATS);
      auto& floats = floats_.emplace_back();
      for (const double number : numbers) floats.push_back(static_cast<float>(number));
      made.floats = floats.data();
      made.count = static_cast<int64_t>(floats.size());
      break;
    }
    case LOOPWRIGHT_A_STRING:
    case LOOPWRIGHT_STRINGS: {
      auto& strings = strings_.emplace_back();
      for (const String& text : listed<String>(name, value, made.kind == LOOPWRIGHT_STRINGS))
        strings.push_back(texts_.emplace_back(text).c_str());
      made.strings = strings.data();
      made.count = static_cast<int64_t>(strings.size());
      break;
    }
    default: throw invalid("attribute " + name, "of a kind that operators of users can have");
  }
  attributes_.push_back(made);
}

std::vector<LoopwrightTensorType> UserNode::infer() const {
  std::vector<LoopwrightTensorType> outputs(static_cast<size_t>(node_.output_count));
  called(title_, [&](char* error, size_t size) { return operator_->infer(&node_, outputs.data(), error, size); });
  for (size_t i = 0; i < outputs.size(); ++i)
    if (const std::string fault = fault_of(outputs[i]); !fault.empty())
      throw std::invalid_argument(title_ + ": its function infer is wrong: output " + std::to_string(i) + " " + fault);
  return outputs;
}

void UserNode::run(const LoopwrightRun& run) const {
  called(title_, [&](char* error, size_t size) { return operator_->run(&node_, &run, error, size); });
}

LoopwrightTensorType tensor_type(const json::Object& description) {
  const std::string dtype = entry<String>(description, "dtype", "a text");
  const auto* row = std::find_if(std::begin(kElements), std::end(kElements),
                                 [&](const ElementRow& each) { return dtype == each.name; });
  if (row == std::end(kElements)) throw std::invalid_argument("operators of users cannot have tensors of " + dtype);
  const auto shape = entry<json::Array>(description, "shape", "a list");
  if (shape.size() > LOOPWRIGHT_MOST_AXES)
    throw std::invalid_argument("operators of users have tensors of at most " + std::to_string(LOOPWRIGHT_MOST_AXES) +
                                " axes");
  LoopwrightTensorType type{row->element, static_cast<int32_t>(shape.size()), {}};
  for (size_t axis = 0; axis < shape.size(); ++axis)
    type.sizes[axis] = shape[static_cast<int64_t>(axis)].try_cast<int64_t>().value_or(-1);
  if (const std::string fault = fault_of(type); !fault.empty()) throw std::invalid_argument("a tensor " + fault);
  return type;
}

json::Object described(const LoopwrightTensorType& type) {
  json::Array shape;
  for (int32_t axis = 0; axis < type.axes; ++axis) shape.push_back(Any(type.sizes[axis]));
  json::Object object;
  object.Set(String("dtype"), String(row_of(type.element)->name));
  object.Set(String("shape"), shape);
  return object;
}

DLDataType dtype_of(const LoopwrightTensorType& type) { return row_of(type.element)->dtype; }

bool is_same(const LoopwrightTensorType& a, const LoopwrightTensorType& b) {
  return a.element == b.element && a.axes == b.axes && std::equal(a.sizes, a.sizes + a.axes, b.sizes);
}

}  // namespace loopwright
