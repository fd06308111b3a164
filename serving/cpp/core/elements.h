// Elements of tensors: the 16-bit types, and strings.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

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

// Appends an element of BYTES: its length and its bytes.
inline void append_element(std::string& bytes, std::string_view text) {
  const auto length = static_cast<uint32_t>(text.size());
  bytes.append(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes.append(text);
}

}  // namespace loopwright::serving
