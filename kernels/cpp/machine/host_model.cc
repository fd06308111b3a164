// Which machine model is that of this CPU.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>

#include "loopwright/machine_model.h"
#include "loopwright/topology.h"
#include "machine/built_in.h"

namespace loopwright {
namespace {

namespace fs = std::filesystem;

struct Host {
  std::shared_ptr<const MachineModel> model;
  std::string error;
};

// The folder of the user's models; empty without a home folder.
std::string user_folder() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache && *cache == '/') return std::string(cache) + "/loopwright/machines/";
  if (home && *home == '/') return std::string(home) + "/.cache/loopwright/machines/";
  return {};
}

// How well the model of `measured` cores describes `cores` cores of the same CPU: 0 is exact. A model of more cores has the
// costs of fewer threads too, so it is better than one of fewer cores.
int distance(int measured, int cores) {
  constexpr int kFewer = 1 << 20;
  return measured >= cores ? measured - cores : kFewer + cores - measured;
}

// Returns the cores in the file name <cpu>-<cores>.csv, or nothing for another name.
std::optional<int> cores_in_name(const std::string& name) {
  const std::string start = cpu_key() + "-", end = ".csv";
  if (name.size() <= start.size() + end.size() || name.rfind(start, 0) != 0) return std::nullopt;
  if (name.compare(name.size() - end.size(), end.size(), end) != 0) return std::nullopt;
  const std::string digits = name.substr(start.size(), name.size() - start.size() - end.size());
  if (digits.size() > 4 || digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return std::stoi(digits);
}

// Returns the file that describes `cores` cores of this CPU best; empty if the folder has none.
std::string nearest_file(const std::string& folder, int cores) {
  std::optional<int> nearest;
  std::error_code failed;
  for (fs::directory_iterator file(folder, failed), end; !failed && file != end; file.increment(failed))
    if (const std::optional<int> found = cores_in_name(file->path().filename().string()))
      if (!nearest || distance(*found, cores) < distance(*nearest, cores)) nearest = found;
  return nearest ? folder + cpu_key() + "-" + std::to_string(*nearest) + ".csv" : "";
}

std::string read(const std::string& path) {
  std::error_code failed;
  if (!fs::is_regular_file(path, failed)) throw std::invalid_argument("it is not a file");
  std::ifstream file(path, std::ios::binary);
  std::string text(MachineModel::kMostBytes + 1, '\0');  // one more, so that a longer one is rejected
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || !file.is_open()) throw std::invalid_argument("it cannot be read");
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

// Returns the model for this number of cores. Measured with fewer, it gives the costs of the kernels, and the rest is
// interpolated.
std::shared_ptr<const MachineModel> for_cores(std::shared_ptr<const MachineModel> model, int cores) {
  if (model->cores >= cores) return model;
  MachineModel made = MachineModel::interpolated(cores);
  made.ghz = model->ghz;
  made.kernels = model->kernels;
  return std::make_shared<const MachineModel>(std::move(made));
}

Host user_model(int cores) {
  const std::string folder = user_folder();
  const std::string path = folder.empty() ? folder : nearest_file(folder, cores);
  if (path.empty()) return {};
  try {
    auto model = std::make_shared<const MachineModel>(MachineModel::parse(read(path)));
    if (model->cpu != cpu_key()) throw std::invalid_argument("it is for another CPU, " + model->cpu);
    return {for_cores(std::move(model), cores), {}};
  } catch (const std::invalid_argument& error) {
    return {nullptr, path + " is ignored: " + error.what()};
  }
}

// Returns null if nobody has measured this CPU.
std::shared_ptr<const MachineModel> built_in_model(int cores) {
  std::shared_ptr<const MachineModel> nearest;
  for (const auto& model : built_in_models())
    if (model->cpu == cpu_key() && (!nearest || distance(model->cores, cores) < distance(nearest->cores, cores)))
      nearest = model;
  return nearest ? for_cores(nearest, cores) : nullptr;
}

const Host& host() {
  static const Host found = [] {
    const int cores = usable_cores();
    Host made = user_model(cores);
    if (!made.model) made.model = built_in_model(cores);
    if (!made.model) made.model = std::make_shared<const MachineModel>(MachineModel::interpolated(cores));
    return made;
  }();
  return found;
}

}  // namespace

std::string host_model_file() {
  const std::string folder = user_folder();
  return folder.empty() ? folder : folder + cpu_key() + "-" + std::to_string(usable_cores()) + ".csv";
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
