// Reads a layer's description.
#pragma once

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/json.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "loopwright/dtype.h"
#include "loopwright/schedule_values.h"

namespace loopwright {

// Each reader throws std::invalid_argument if an entry is missing or has another type.
class Description {
 public:
  Description(tvm::ffi::json::Object entries, const tvm::ffi::Array<tvm::ffi::Tensor>& weights)
      : entries_(std::move(entries)), weights_(weights) {}

  std::string text(const char* key) const { return as<tvm::ffi::String>(key, "a text"); }
  std::optional<std::string> optional_text(const char* key) const {
    return is_null(key) ? std::nullopt : std::optional(text(key));
  }
  // Must be at least 0.
  int64_t integer(const char* key) const { return checked(key, as<int64_t>(key, "an integer")); }
  // Must fit int32.
  int32_t signed_integer(const char* key) const {
    const auto value = as<int64_t>(key, "an integer");
    if (value < INT32_MIN || value > INT32_MAX) throw invalid(key, "an integer of 32 bits");
    return static_cast<int32_t>(value);
  }
  double number(const char* key) const { return as<double>(key, "a number"); }
  bool flag(const char* key) const { return as<bool>(key, "true or false"); }

  std::vector<int64_t> integers(const char* key) const {
    const auto values = as_tuple(as<tvm::ffi::json::Array>(key, "a list"));
    if (!values) throw invalid(key, "a list of integers");
    for (const int64_t value : *values) checked(key, value);
    return *values;
  }
  template <size_t N>
  std::array<int64_t, N> sizes(const char* key) const {
    const std::vector<int64_t> values = integers(key);
    if (values.size() != N) throw invalid(key, "a list of " + std::to_string(N) + " integers");
    std::array<int64_t, N> result{};
    std::copy(values.begin(), values.end(), result.begin());
    return result;
  }

  std::vector<tvm::ffi::json::Object> entries(const char* key) const {
    std::vector<tvm::ffi::json::Object> found;
    for (const auto& value : as<tvm::ffi::json::Array>(key, "a list")) {
      const auto entries = value.try_cast<tvm::ffi::json::Object>();
      if (!entries) throw invalid(key, "a list of objects");
      found.push_back(*entries);
    }
    return found;
  }
  std::vector<Description> objects(const char* key) const {
    std::vector<Description> descriptions;
    for (const auto& object : entries(key)) descriptions.push_back({object, weights_});
    return descriptions;
  }
  const tvm::ffi::json::Object& all() const { return entries_; }

  std::optional<ScheduleValues> schedule() const {
    if (is_null("schedule")) return std::nullopt;
    ScheduleValues values;
    for (const auto& [key, value] : as<tvm::ffi::json::Object>("schedule", "an object")) {
      const std::string name = key.template cast<tvm::ffi::String>();
      if (const auto text = value.template try_cast<tvm::ffi::String>()) {
        values.emplace_back(name, std::string(*text));
      } else if (const auto number = value.template try_cast<int64_t>()) {
        values.emplace_back(name, *number);
      } else if (const auto tuple = as_tuple(value)) {
        values.emplace_back(name, *tuple);
      } else {
        throw std::invalid_argument("schedule: " + name + " must be an integer, a flag, a name or a list of integers");
      }
    }
    return values;
  }

  bool is_null(const char* key) const { return find(key) == nullptr; }

  // Returns the float32 weight of this name and shape.
  const float* weight(const std::string& name, const std::vector<int64_t>& shape) const {
    return static_cast<const float*>(weight_of({kDLFloat, 32, 1}, "float32", name, shape));
  }
  // The same for int8.
  const int8_t* int8_weight(const std::string& name, const std::vector<int64_t>& shape) const {
    return static_cast<const int8_t*>(weight_of({kDLInt, 8, 1}, "int8", name, shape));
  }
  // The same for bfloat16, whose bits are those of uint16.
  const Bfloat16* bfloat16_weight(const std::string& name, const std::vector<int64_t>& shape) const {
    return static_cast<const Bfloat16*>(weight_of({kDLUInt, 16, 1}, "uint16", name, shape));
  }
  // The same for uint8.
  const uint8_t* uint8_weight(const std::string& name, const std::vector<int64_t>& shape) const {
    return static_cast<const uint8_t*>(weight_of({kDLUInt, 8, 1}, "uint8", name, shape));
  }
  const uint8_t* optional_uint8_weight(const std::string& name, const std::vector<int64_t>& shape) const {
    return weight_index(name) ? uint8_weight(name, shape) : nullptr;
  }
  // Returns null if there is no weight of this name.
  const float* optional_weight(const std::string& name, const std::vector<int64_t>& shape) const {
    return weight_index(name) ? weight(name, shape) : nullptr;
  }
  // Returns the weights of all layers, which own the memory of weight().
  const tvm::ffi::Array<tvm::ffi::Tensor>& weights() const { return weights_; }

  // Returns the indices of all weights, by name.
  std::map<std::string, int64_t> weight_indices() const {
    std::map<std::string, int64_t> indices;
    for (const auto& [name, value] : as<tvm::ffi::json::Object>("weights", "an object")) {
      const std::string key = name.template cast<tvm::ffi::String>();
      indices[key] = *weight_index(key);
    }
    return indices;
  }

 private:
  const void* weight_of(DLDataType wanted, const std::string& dtype_name, const std::string& name,
                        const std::vector<int64_t>& shape) const {
    const auto index = weight_index(name);
    if (!index || *index < 0 || *index >= static_cast<int64_t>(weights_.size()))
      throw invalid(name, "the index of a weight");
    const tvm::ffi::Tensor tensor = weights_[*index];
    const auto is = tensor.shape();
    const DLDataType dtype = tensor.dtype();
    if (dtype.code != wanted.code || dtype.bits != wanted.bits || dtype.lanes != wanted.lanes ||
        !tensor.IsContiguous() || std::vector<int64_t>(is.begin(), is.end()) != shape)
      throw invalid(name, "a contiguous " + dtype_name + " weight of the shape that the layer has");
    return tensor.data_ptr();
  }

  // Returns nothing unless the value is a list of integers.
  static std::optional<std::vector<int64_t>> as_tuple(const tvm::ffi::Any& value) {
    const auto list = value.try_cast<tvm::ffi::json::Array>();
    if (!list) return std::nullopt;
    std::vector<int64_t> tuple;
    for (const auto& element : *list) {
      const auto number = element.try_cast<int64_t>();
      if (!number) return std::nullopt;
      tuple.push_back(*number);
    }
    return tuple;
  }
  static int64_t checked(const char* key, int64_t value) {
    if (value < 0 || value >= int64_t{1} << 40) throw invalid(key, "a size");
    return value;
  }
  std::optional<int64_t> weight_index(const std::string& name) const {
    const auto names = as<tvm::ffi::json::Object>("weights", "an object");
    const auto found = names.find(tvm::ffi::String(name));
    if (found == names.end()) return std::nullopt;
    const auto index = (*found).second.template try_cast<int64_t>();
    if (!index) throw invalid(name, "the index of a weight");
    return *index;
  }
  // null if the entry is missing or null.
  tvm::ffi::Any find(const char* key) const {
    const auto found = entries_.find(tvm::ffi::String(key));
    return found == entries_.end() ? tvm::ffi::Any(nullptr) : (*found).second;
  }
  template <class T>
  T as(const char* key, const char* wanted) const {
    const auto value = find(key).template try_cast<T>();
    if (!value) throw invalid(key, wanted);
    return *value;
  }
  static std::invalid_argument invalid(const std::string& key, const std::string& wanted) {
    return std::invalid_argument(key + " must be " + wanted);
  }

  tvm::ffi::json::Object entries_;
  const tvm::ffi::Array<tvm::ffi::Tensor>& weights_;
};

}  // namespace loopwright
