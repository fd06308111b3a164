// Data types of matrices and of layers. The type of a layer is that of its weights: float32 layers read factors of that type;
// bfloat16 layers read bfloat16, or float32 that they round; both sum in float32; int8 layers read int8 or uint8 (quantization.h), and
// sum in int32.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loopwright/isa.h"

namespace loopwright {

enum class Dtype { kFloat32, kBfloat16, kInt8, kUint8 };

// The upper half of a float32.
struct Bfloat16 {
  uint16_t bits;
};

const char* name(Dtype dtype);

// Parses the type of a layer. Throws std::invalid_argument for an unknown name.
Dtype parse_dtype(const std::string& name);

// Parses the type of integers, int8 or uint8. Throws std::invalid_argument for another name.
Dtype parse_integers(const std::string& name);

constexpr int64_t element_bytes(Dtype dtype) {
  return dtype == Dtype::kFloat32 ? sizeof(float) : dtype == Dtype::kBfloat16 ? sizeof(Bfloat16) : 1;
}

constexpr bool is_integer(Dtype dtype) { return dtype == Dtype::kInt8 || dtype == Dtype::kUint8; }

// Whether this CPU and its operating system support AVX512_BF16.
bool cpu_has_avx512_bf16();

// Throws std::invalid_argument if `isa` has no layers of `dtype`.
void check_dtype(Dtype dtype, Isa isa);

// Returns the types of layers that check_dtype() accepts.
std::vector<Dtype> available_dtypes(Isa isa);

}  // namespace loopwright
