// What a CPU reports about its instruction set. One file per architecture implements it: machine/x86.cc.
// cpu_has_avx512_bf16() in loopwright/dtype.h belongs to it too.
#pragma once

#include <string>
#include <vector>

#include "loopwright/isa.h"

namespace loopwright {

// Returns the vector ISAs that this CPU and its operating system support, best first.
std::vector<Isa> vector_isas();

// Whether this CPU and its operating system support the instructions of int8_avx512.cc: AVX512_VNNI and those for bytes.
bool cpu_has_avx512_vnni();

// Whether 512-bit vectors are executed in two passes of 256 bits.
bool splits_512_bit_vectors();

// Returns the vendor, family and model, such as "AuthenticAMD-26-2".
std::string cpu_family();

}  // namespace loopwright
