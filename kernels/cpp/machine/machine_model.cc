#include "loopwright/machine_model.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "machine/built_in.h"
#include "machine/cpu_features.h"

namespace loopwright {
namespace {

// Data that is read again shares its cache with what passes through.
constexpr double kRoom = 0.75;

// Returns the value of `threads` threads; more threads than were measured take more in proportion.
double by_threads(const std::vector<double>& values, int threads) {
  if (values.empty()) return 0;
  const auto known = std::min(values.size(), static_cast<size_t>(std::max(threads, 1)));
  return values[known - 1] * static_cast<double>(std::max(threads, 1)) / static_cast<double>(known);
}

struct Host {
  std::shared_ptr<const MachineModel> model;
  std::string error;
};

// Returns the built-in model of a CPU and number of cores. Measured with another number of cores, it gives the costs of the
// kernels, and the rest is interpolated. Null if nobody has measured this CPU.
std::shared_ptr<const MachineModel> built_in_model(const std::string& cpu, int cores) {
  std::shared_ptr<const MachineModel> similar;
  for (const auto& model : built_in_models()) {
    if (model->cpu != cpu) continue;
    if (model->cores == cores) return model;
    similar = model;
  }
  if (!similar) return nullptr;
  MachineModel made = MachineModel::interpolated(cores);
  made.ghz = similar->ghz;
  made.kernels = similar->kernels;
  return std::make_shared<const MachineModel>(std::move(made));
}

const Host& host() {
  static const Host found = [] {
    Host made;
    const int cores = usable_cores();
    if (const std::string path = host_model_file(); !path.empty())
      if (std::ifstream file(path); file) {
        std::stringstream text;
        text << file.rdbuf();
        try {
          auto model = std::make_shared<const MachineModel>(MachineModel::parse(text.str()));
          if (model->cpu != cpu_key()) throw std::invalid_argument("it is for another CPU, " + model->cpu);
          made.model = std::move(model);
        } catch (const std::invalid_argument& error) {
          made.error = path + " is ignored: " + error.what();
        }
      }
    if (!made.model) made.model = built_in_model(cpu_key(), cores);
    if (!made.model) made.model = std::make_shared<const MachineModel>(MachineModel::interpolated(cores));
    return made;
  }();
  return found;
}

}  // namespace

const KernelCosts& MachineModel::costs(Isa isa, Dtype dtype) const {
  for (const KernelCosts& costs : kernels)
    if (costs.isa == isa && costs.dtype == dtype) return costs;
  throw std::invalid_argument("the machine model of " + cpu + " has no costs for " + name(isa) + " and " + name(dtype));
}

double MachineModel::bandwidth_per_thread(Level level, int threads) const {
  const std::vector<double>& known = bandwidth[static_cast<size_t>(level)];
  const auto measured = std::min(known.size(), static_cast<size_t>(std::max(threads, 1)));
  const double together = known[measured - 1];
  // Each core has an L1 and an L2. What all cores share is no faster for more of them.
  return together / static_cast<double>(level <= Level::kL2 ? measured : static_cast<size_t>(threads));
}

double MachineModel::fork_join_cycles(int threads) const { return threads <= 1 ? 0 : by_threads(fork_join, threads); }

double MachineModel::barrier_cycles(int threads) const { return threads <= 1 ? 0 : by_threads(barrier, threads); }

Level MachineModel::level_of(double bytes) const {
  for (const Level level : {Level::kL1, Level::kL2, Level::kL3})
    if (bytes <= kRoom * static_cast<double>(cache_bytes[static_cast<size_t>(level)])) return level;
  return Level::kMemory;
}

std::string cpu_key() {
  static const std::string key = cpu_family();
  return key;
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(CPU_COUNT(&set), 1) : 1;
}

std::string host_model_file() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::string folder;
  if (cache && *cache == '/') {
    folder = cache;
  } else if (home && *home == '/') {
    folder = std::string(home) + "/.cache";
  } else {
    return {};
  }
  return folder + "/loopwright/machines/" + cpu_key() + "-" + std::to_string(usable_cores()) + ".csv";
}

std::shared_ptr<const MachineModel> host_model() { return host().model; }

const std::string& host_model_error() { return host().error; }

const std::vector<std::shared_ptr<const MachineModel>>& built_in_models() {
  static const std::vector<std::shared_ptr<const MachineModel>> models = [] {
    std::vector<std::shared_ptr<const MachineModel>> parsed;
    for (const char* text : kBuiltInModels)
      parsed.push_back(std::make_shared<const MachineModel>(MachineModel::parse(text)));
    return parsed;
  }();
  return models;
}

}  // namespace loopwright
