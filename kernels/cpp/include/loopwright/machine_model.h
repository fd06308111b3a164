// A machine model: the costs of one CPU, from which default schedules, numbers of threads and rooflines follow. Measured by
// `python -m kernels.calibrate`, or computed from what the CPU reports about itself. Times are in cycles of the core clock.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "loopwright/dtype.h"
#include "loopwright/isa.h"

namespace loopwright {

enum class Level { kL1, kL2, kL3, kMemory };
constexpr int kLevels = 4;

// A register tile takes start + k * step[level] cycles for a sum of k words, with A in L1 and B in the memory of `level`,
// as one of a series. Each panel takes KernelCosts::call more.
struct TileCost {
  double start = 0;
  std::array<double, kLevels> step{};

  double cycles(double k, Level level) const { return start + k * step[static_cast<size_t>(level)]; }
};

// Winograd's transform of the input or the output of one tile, with all tensors in L2: start + cycles per vector of channels.
struct TransformCost {
  double start = 0, vector = 0;

  double cycles(double vectors) const { return start + vectors * vector; }
};
struct WinogradCosts {
  TransformCost input, output;
};

// The costs of the kernels of one ISA and dtype.
class KernelCosts {
 public:
  static constexpr int kMaxRows = 28, kMaxHalves = 16;

  Isa isa = Isa::kReference;
  Dtype dtype = Dtype::kFloat32;
  std::array<WinogradCosts, 3> winograd;  // F(2×2, 3×3), F(3×3, 4×4), F(4×4, 3×3)
  double strassen_sum = 0;                // per vector of the four sums of quarters
  double cell = 0;                        // a step of an LSTM, per vector of units
  double call = 0;                        // a call of a microkernel with the loops around it, for one tile or a series
  int prefetch_bytes = 0;                 // the best prefetch distance of weights that come from memory; 0: none

  // By rows and half vectors of columns. An odd number of halves may cost as much as the next even one.
  const TileCost& tile(int rows, int halves) const { return tiles_[static_cast<size_t>(index(rows, halves))]; }
  TileCost& tile(int rows, int halves) { return tiles_[static_cast<size_t>(index(rows, halves))]; }

 private:
  static int index(int rows, int halves) { return (rows - 1) * kMaxHalves + halves - 1; }

  std::vector<TileCost> tiles_{static_cast<size_t>(kMaxRows) * kMaxHalves};
};

struct MachineModel {
  enum class Source { kMeasured, kInterpolated };
  static constexpr size_t kMostBytes = size_t{1} << 22;  // of a text

  std::string cpu;  // vendor, family and model, as cpu_key() returns them
  Source source = Source::kInterpolated;
  int cores = 1;
  double ghz = 1;
  std::array<int64_t, 3> cache_bytes{};
  // By number of threads - 1, as many as there are cores: bytes per cycle that they load together, cycles of a parallel
  // region with an empty body, and cycles of a barrier.
  std::array<std::vector<double>, kLevels> bandwidth;
  std::vector<double> fork_join, barrier;
  std::vector<KernelCosts> kernels;

  // The costs of an ISA and dtype of this CPU. Throws std::invalid_argument if the model has none.
  const KernelCosts& costs(Isa isa, Dtype dtype) const;
  // Bytes per cycle that each of `threads` threads loads from a level while all of them do.
  double bandwidth_per_thread(Level level, int threads) const;
  // Cycles by number of threads, 0 for one thread. More threads than were measured take more in proportion.
  double fork_join_cycles(int threads) const;
  double barrier_cycles(int threads) const;
  // The first level that holds `bytes` bytes of one thread and leaves room for other data.
  Level level_of(double bytes) const;
  // The floats that take one thread as long as a parallel region of two. The previous operator has just written them, so L2
  // is the nearest level.
  int64_t floats_worth_a_thread() const;

  // One line that names the table: the CPU, its cores, the source and a digest of the costs.
  std::string id() const;
  std::string text() const;
  // Parses text(), which has all costs exactly. Costs that the text lacks are interpolated. Throws std::invalid_argument,
  // with the line, for anything else.
  static MachineModel parse(const std::string& text);
  // Computes a model from the sizes of the caches, the ports and the ISA of this CPU.
  static MachineModel interpolated(int cores);
};

// The key of this CPU, such as "AuthenticAMD-26-2": letters, digits and dashes.
std::string cpu_key();

// The model of this CPU, of as many cores as the process may use: that of the user's cache folder, else the one that is
// built in, else an interpolated one. A model of this CPU with another number of cores serves too; one of more cores is
// preferred. Read once. A file that cannot be parsed counts as missing; host_model_error() says why.
std::shared_ptr<const MachineModel> host_model();
const std::string& host_model_error();
// The file in the user's cache folder for the cores that the process may use, which may not exist; empty without a home
// folder.
std::string host_model_file();
// The models that are built in, each for one CPU.
const std::vector<std::shared_ptr<const MachineModel>>& built_in_models();

// What schedules are chosen for: an ISA, and the costs of the CPU.
struct Target {
  Isa isa;
  std::shared_ptr<const MachineModel> model;

  Target(Isa isa) : isa(isa), model(host_model()) {}  // NOLINT: an ISA alone means this CPU
  Target(Isa isa, std::shared_ptr<const MachineModel> model) : isa(isa), model(std::move(model)) {}
  operator Isa() const { return isa; }  // NOLINT: kernels are those of the ISA
};

}  // namespace loopwright
