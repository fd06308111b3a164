// Elements of tensors: their types in C++, the 16-bit types, and strings.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "loopwright/serving/error.h"
#include "loopwright/serving/tensor.h"

namespace loopwright::serving {

// The bits of the 16-bit types.
struct Fp16 {
  uint16_t bits;
};
struct Bf16 {
  uint16_t bits;
};

inline float to_float(Fp16 value) {
  _Float16 half;
  std::memcpy(&half, &value.bits, sizeof(half));
  return static_cast<float>(half);
}
inline float to_float(Bf16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

// An element of BYTES.
struct Bytes {};

// A type in C++ as an argument.
template <class T>
struct ElementType {
  using type = T;
};

// Returns f(ElementType<T>()) for the type T in C++ of the elements of a data type.
template <class F>
auto with_element_type(DataType type, const F& f) {
  switch (type) {
    case DataType::kBool: return f(ElementType<bool>());
    case DataType::kUint8: return f(ElementType<uint8_t>());
    case DataType::kUint16: return f(ElementType<uint16_t>());
    case DataType::kUint32: return f(ElementType<uint32_t>());
    case DataType::kUint64: return f(ElementType<uint64_t>());
    case DataType::kInt8: return f(ElementType<int8_t>());
    case DataType::kInt16: return f(ElementType<int16_t>());
    case DataType::kInt32: return f(ElementType<int32_t>());
    case DataType::kInt64: return f(ElementType<int64_t>());
    case DataType::kFp16: return f(ElementType<Fp16>());
    case DataType::kBf16: return f(ElementType<Bf16>());
    case DataType::kFp32: return f(ElementType<float>());
    case DataType::kFp64: return f(ElementType<double>());
    case DataType::kBytes: return f(ElementType<Bytes>());
  }
  throw Error(ErrorKind::kInternal, "a data type has no type of elements");
}

// Appends an element of BYTES: its length and its bytes.
inline void append_element(std::string& bytes, std::string_view text) {
  const auto length = static_cast<uint32_t>(text.size());
  bytes.append(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes.append(text);
}

}  // namespace loopwright::serving
