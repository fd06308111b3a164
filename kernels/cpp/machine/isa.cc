#include "loopwright/isa.h"

#include <stdexcept>

#include "machine/cpu_features.h"

namespace loopwright {

const char* name(Isa isa) {
  switch (isa) {
    case Isa::kReference: return "reference";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
  }
  return "unknown";
}

Isa parse_isa(const std::string& text) {
  std::string known;
  for (const Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kReference}) {
    if (text == name(isa)) return isa;
    known += (known.empty() ? "" : ", ") + std::string(name(isa));
  }
  throw std::invalid_argument("unknown isa '" + text + "'; choose from: " + known);
}

const std::vector<Isa>& available_isas() {
  static const std::vector<Isa> isas = [] {
    std::vector<Isa> found = vector_isas();
    found.push_back(Isa::kReference);
    return found;
  }();
  return isas;
}

}  // namespace loopwright
