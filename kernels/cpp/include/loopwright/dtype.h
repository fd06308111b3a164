// Types of the elements that are multiplied. Sums are float32 whatever they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loopwright/isa.h"

namespace loopwright {

enum class Dtype { kFloat32, kBfloat16 };

// The upper half of a float32.
struct Bfloat16 {
  uint16_t bits;
};

const char* name(Dtype dtype);

// Throws std::invalid_argument for a name that no dtype has.
Dtype parse_dtype(const std::string& name);

constexpr int64_t element_bytes(Dtype dtype) { return dtype == Dtype::kFloat32 ? sizeof(float) : sizeof(Bfloat16); }

// Whether this CPU and its operating system can execute AVX512_BF16.
bool cpu_has_avx512_bf16();

// Throws std::invalid_argument where `isa` has no kernels for `dtype`, or a CPU with or without AVX512_BF16 lacks what
// they need.
void check_dtype(Dtype dtype, Isa isa, bool has_avx512_bf16 = cpu_has_avx512_bf16());

// What check_dtype() lets pass on this CPU.
std::vector<Dtype> available_dtypes(Isa isa);

}  // namespace loopwright
