// Tensors that pass through the engine: views of memory that somebody owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace loopwright::serving {

// The data types of the Open Inference Protocol.
enum class DataType {
  kBool,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFp16,
  kBf16,
  kFp32,
  kFp64,
  kBytes
};

// Returns the name in the protocol, such as FP32.
const char* name(DataType type);
// Throws Error (kInvalidArgument) with the possible names if there is no such type.
DataType parse_data_type(std::string_view name);
// Returns the bytes of an element; 0 for kBytes, whose elements differ.
size_t element_bytes(DataType type);

// What a model takes or returns. A dimension of -1 may have any size.
struct TensorSpec {
  std::string name;
  DataType type;
  std::vector<int64_t> shape;
};

// Elements in row-major order. Those of kBytes are each a length (4 bytes, little-endian) and as many bytes, as in the
// protocol's binary form. Copies share the memory.
class Tensor {
 public:
  Tensor() = default;
  // `owner` keeps `data` alive. The caller has checked that the bytes fit the shape.
  Tensor(DataType type, std::vector<int64_t> shape, std::shared_ptr<const void> owner, const void* data, size_t bytes)
      : type_(type), shape_(std::move(shape)), owner_(std::move(owner)), data_(data), bytes_(bytes) {}
  // Returns a tensor that owns `bytes`.
  static Tensor of(DataType type, std::vector<int64_t> shape, std::string bytes);

  DataType type() const { return type_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  const void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  std::string_view view() const { return {static_cast<const char*>(data_), bytes_}; }

 private:
  DataType type_ = DataType::kFp32;
  std::vector<int64_t> shape_;
  std::shared_ptr<const void> owner_;
  const void* data_ = nullptr;
  size_t bytes_ = 0;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// Returns the number of elements. Throws Error (kInvalidArgument) if a dimension is negative or the product exceeds 2^48.
int64_t element_count(const std::vector<int64_t>& shape);
// Returns "[1, 3, 224, 224]".
std::string text(const std::vector<int64_t>& shape);
// Throws Error (kInvalidArgument) unless a tensor of that type and shape can have so many bytes.
void check_size(DataType type, const std::vector<int64_t>& shape, size_t bytes);
// Throws Error (kInvalidArgument) unless the bytes are those of a tensor of that type and shape.
void check_bytes(DataType type, const std::vector<int64_t>& shape, std::string_view bytes);

}  // namespace loopwright::serving
