// Caches by sysfs, because getconf and CPUID tell a guest of a virtual machine less reliably what it has.
#include <cpuid.h>

#include <fstream>

#include "loopwright/machine.h"

namespace loopwright {
namespace {

std::string read_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

std::array<int64_t, 3> read_caches() {
  std::array<int64_t, 3> bytes{32 << 10, 256 << 10, 0};
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    const std::string level = read_word(folder + "level"), size = read_word(folder + "size");
    if (level.empty() || size.empty() || read_word(folder + "type") == "Instruction") continue;
    const int index = level[0] - '1';
    if (index < 0 || index > 2) continue;
    const int64_t unit = size.back() == 'K' ? 1 << 10 : size.back() == 'M' ? 1 << 20 : 1;
    bytes[index] = std::strtoll(size.c_str(), nullptr, 10) * unit;
  }
  return bytes;
}

// AMD's CPUs tell how wide their units are: leaf 8000001A, bit 2 of EAX for 256 bits and bit 3 for 512.
bool has_halved_vectors() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool amd = __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == signature_AMD_ebx;
  return amd && __get_cpuid(0x8000001A, &eax, &ebx, &ecx, &edx) && (eax & 0b1100u) == 0b0100u;
}

}  // namespace

int fmas_per_cycle(Isa isa) {
  static const bool halved = has_halved_vectors();
  return isa == Isa::kAvx512 && halved ? 1 : 2;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t start = line.find(": ");
    if (start != std::string::npos) return line.substr(start + 2);
  }
  return "unknown";
}

const std::array<int64_t, 3>& cache_bytes() {
  static const std::array<int64_t, 3> bytes = read_caches();
  return bytes;
}

}  // namespace loopwright
