// Data types of the factors of a product. Sums are always float32.
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

// Throws std::invalid_argument for an unknown name.
Dtype parse_dtype(const std::string& name);

constexpr int64_t element_bytes(Dtype dtype) { return dtype == Dtype::kFloat32 ? sizeof(float) : sizeof(Bfloat16); }

// Whether this CPU and its operating system support AVX512_BF16.
bool cpu_has_avx512_bf16();

// Throws std::invalid_argument if `isa` has no kernels for `dtype`, or if they need AVX512_BF16 and the CPU lacks it.
void check_dtype(Dtype dtype, Isa isa, bool has_avx512_bf16 = cpu_has_avx512_bf16());

// Returns the dtypes that check_dtype() accepts on this CPU.
std::vector<Dtype> available_dtypes(Isa isa);

}  // namespace loopwright
