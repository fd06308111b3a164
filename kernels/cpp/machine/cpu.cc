// Cache sizes come from sysfs, because getconf and CPUID are less reliable in virtual machines.
#include <fstream>

#include "loopwright/machine.h"
#include "machine/cpu_features.h"
#include "microkernels/kernel_table.h"

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

}  // namespace

int fmas_per_cycle(Isa isa) {
  static const bool split = splits_512_bit_vectors();
  return isa == Isa::kAvx512 && split ? 1 : 2;
}

std::vector<std::pair<int, int>> register_tiles(Isa isa, Dtype dtype) {
  const KernelTable& kernels = kernel_table(isa, dtype);
  std::vector<std::pair<int, int>> tiles;
  for (int vectors = 1; vectors <= KernelTable::kMaxVectors; ++vectors)
    for (int mr = 1; mr <= KernelTable::kMaxRows; ++mr)
      if (kernels.find(mr, vectors * kernels.lanes)) tiles.emplace_back(mr, vectors * kernels.lanes);
  return tiles;
}

std::vector<std::pair<int, int>> narrow_tiles(Isa isa, Dtype dtype) {
  const KernelTable& kernels = kernel_table(isa, dtype);
  std::vector<std::pair<int, int>> tiles;
  for (int columns = 1; columns <= KernelTable::kMaxNarrowColumns; ++columns)
    for (int mr = 1; mr <= KernelTable::kMaxNarrowRows; ++mr)
      if (kernels.narrow_tiles[mr][columns]) tiles.emplace_back(mr, columns);
  return tiles;
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
