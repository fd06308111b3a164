#include <cpuid.h>

#include "loopwright/dtype.h"
#include "machine/cpu_features.h"

namespace loopwright {

// __builtin_cpu_supports() reads CPUID and, through XGETBV, which registers the operating system saves.
std::vector<Isa> vector_isas() {
  std::vector<Isa> found;
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) found.push_back(Isa::kAvx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(Isa::kAvx2);
  return found;
}

bool cpu_has_avx512_bf16() {
  __builtin_cpu_init();
  // Every CPU with the first has the others, which the masked stores of 16-bit elements need.
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

bool cpu_has_avx512_vnni() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

// AMD's CPUs report the width of their units in leaf 8000001A: bit 2 of EAX for 256 bits, bit 3 for 512.
bool splits_512_bit_vectors() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool amd = __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == signature_AMD_ebx;
  return amd && __get_cpuid(0x8000001A, &eax, &ebx, &ecx, &edx) && (eax & 0b1100u) == 0b0100u;
}

std::string cpu_family() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx)) return "unknown";
  std::string key;
  for (const unsigned part : {ebx, edx, ecx})
    for (int byte = 0; byte < 4; ++byte) {
      const auto c = static_cast<char>(part >> (8 * byte));  // some vendors have spaces, and a hypervisor may set any
      if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) key += c;
    }
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  const unsigned base = (eax >> 8) & 0xf, family = base == 0xf ? base + ((eax >> 20) & 0xff) : base;
  const unsigned model = ((eax >> 4) & 0xf) | (base == 0xf || base == 6 ? ((eax >> 12) & 0xf0) : 0);
  return key + '-' + std::to_string(family) + '-' + std::to_string(model);
}

}  // namespace loopwright
