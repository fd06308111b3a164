#include "loopwright/serving/tensor.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

struct Row {
  DataType type;
  const char* name;
  size_t bytes;
};
constexpr std::array<Row, 14> kTypes{{{DataType::kBool, "BOOL", 1},
                                      {DataType::kUint8, "UINT8", 1},
                                      {DataType::kUint16, "UINT16", 2},
                                      {DataType::kUint32, "UINT32", 4},
                                      {DataType::kUint64, "UINT64", 8},
                                      {DataType::kInt8, "INT8", 1},
                                      {DataType::kInt16, "INT16", 2},
                                      {DataType::kInt32, "INT32", 4},
                                      {DataType::kInt64, "INT64", 8},
                                      {DataType::kFp16, "FP16", 2},
                                      {DataType::kBf16, "BF16", 2},
                                      {DataType::kFp32, "FP32", 4},
                                      {DataType::kFp64, "FP64", 8},
                                      {DataType::kBytes, "BYTES", 0}}};

constexpr int64_t kMostElements = int64_t{1} << 48;

// Checks that `bytes` are `count` elements of a length and as many bytes each.
void check_strings(std::string_view bytes, int64_t count) {
  int64_t found = 0;
  while (!bytes.empty()) {
    uint32_t length;
    if (bytes.size() < sizeof(length)) throw invalid("the last length of a BYTES tensor is cut off");
    std::memcpy(&length, bytes.data(), sizeof(length));
    bytes.remove_prefix(sizeof(length));
    if (length > bytes.size()) throw invalid("an element of a BYTES tensor is longer than its data");
    bytes.remove_prefix(length);
    ++found;
  }
  if (found != count)
    throw invalid("a BYTES tensor has " + std::to_string(found) + " elements, its shape has " + std::to_string(count));
}

}  // namespace

const char* name(DataType type) { return kTypes[static_cast<size_t>(type)].name; }

size_t element_bytes(DataType type) { return kTypes[static_cast<size_t>(type)].bytes; }

DataType parse_data_type(std::string_view name) {
  std::string names;
  for (const Row& row : kTypes) {
    if (name == row.name) return row.type;
    names += names.empty() ? row.name : std::string(", ") + row.name;
  }
  throw invalid("there is no data type '" + std::string(name) + "'; choose from: " + names);
}

Tensor Tensor::of(DataType type, std::vector<int64_t> shape, std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  const void* data = owner->data();
  const size_t size = owner->size();
  return Tensor(type, std::move(shape), std::move(owner), data, size);
}

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) throw invalid("a shape has the negative dimension " + std::to_string(size));
    if (size == 0) {
      empty = true;
    } else if (count > kMostElements / size) {
      throw invalid("the shape " + text(shape) + " has more than 2^48 elements");
    } else {
      count *= size;
    }
  }
  return empty ? 0 : count;
}

std::string text(const std::vector<int64_t>& shape) {
  std::string result = "[";
  for (const int64_t size : shape) {
    if (result.size() > 1) result += ", ";
    result += std::to_string(size);
  }
  return result + "]";
}

void check_size(DataType type, const std::vector<int64_t>& shape, size_t bytes) {
  const bool is_bytes = type == DataType::kBytes;
  const size_t expected =
      static_cast<size_t>(element_count(shape)) * (is_bytes ? sizeof(uint32_t) : element_bytes(type));
  if (is_bytes ? bytes < expected : bytes != expected)
    throw invalid("a tensor of " + std::string(name(type)) + " " + text(shape) + " has " +
                  (is_bytes ? "at least " : "") + std::to_string(expected) + " bytes, got " + std::to_string(bytes));
}

void check_bytes(DataType type, const std::vector<int64_t>& shape, std::string_view bytes) {
  if (type == DataType::kBytes) return check_strings(bytes, element_count(shape));
  check_size(type, shape, bytes.size());
  if (type == DataType::kBool &&
      std::any_of(bytes.begin(), bytes.end(), [](char byte) { return byte != 0 && byte != 1; }))
    throw invalid("a tensor of BOOL has a byte that is neither 0 nor 1");
}

}  // namespace loopwright::serving
