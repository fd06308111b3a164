// Instruction sets of the kernels, and those that this CPU has.
#pragma once

#include <string>
#include <vector>

namespace loopwright {

enum class Isa { kReference, kAvx2, kAvx512 };

const char* name(Isa isa);

// Throws std::invalid_argument for an unknown name.
Isa parse_isa(const std::string& name);

// Returns the ISAs that this CPU and its operating system support, best first. The last is kReference.
const std::vector<Isa>& available_isas();

}  // namespace loopwright
