// Instruction sets that kernels exist for, and what the CPU at hand offers.
#pragma once

#include <string>
#include <vector>

namespace loopwright {

enum class Isa { kReference, kAvx2, kAvx512 };

const char* name(Isa isa);

// Throws std::invalid_argument for a name that no ISA has.
Isa parse_isa(const std::string& name);

// What this CPU and its operating system can execute, best first; ends with kReference.
const std::vector<Isa>& available_isas();

}  // namespace loopwright
