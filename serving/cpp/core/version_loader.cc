#include "core/version_loader.h"

#include <loopwright/isa.h>

#include <filesystem>
#include <iomanip>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "core/choose.h"
#include "core/version.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAnyOnnx = "onnxruntime";  // what runs a model that cannot be compiled

// "2 x 1 thread(s) in loopwright: 512 items/s, 99 % within 3.1 ms at 80 % of it"
std::string text_of(const Candidate& candidate) {
  std::ostringstream text;
  text << candidate.instances << " x " << candidate.threads << " thread(s) in " << candidate.runtime << ": ";
  if (!candidate.reason.empty()) {
    text << candidate.reason;
    return text.str();
  }
  text << std::fixed << std::setprecision(candidate.items_per_sec < 10 ? 2 : 0) << candidate.items_per_sec
       << " items/s";
  if (candidate.p99_ms > 0) text << ", 99 % within " << std::setprecision(2) << candidate.p99_ms << " ms at 80 % of it";
  return text.str();
}

}  // namespace

VersionLoader::VersionLoader(std::string model, const EngineOptions& options, Cores& cores, Metrics& metrics,
                             const std::atomic<bool>& stop, Log log)
    : model_(std::move(model)),
      options_(options),
      cores_(cores),
      metrics_(metrics),
      stop_(stop),
      log_(std::move(log)) {}

std::unique_ptr<Servable> VersionLoader::load(int64_t number, const std::string& folder,
                                              const ModelConfig& config) const {
  const VersionFiles files = find_files(folder, config.runtime);
  // Once for all sizes of batches and all candidates, as weights may be large.
  const std::optional<Source> source =
      files.compile ? std::optional(read_source(files.path, config.operators)) : std::nullopt;
  const Load what{number, folder, config, metrics_, "", source ? &*source : nullptr};
  return config.is_auto ? load_best(what) : load(what);
}

std::unique_ptr<Servable> VersionLoader::load(const Load& what) const {
  const VersionFiles files = find_files(what.folder, what.config.runtime);
  if (!files.compile) return load_files(what, files, {files.path});
  if (!options_.libraries.count(kAnyOnnx)) return load_compiled(what, files);
  std::string reason;
  try {
    return load_compiled(what, files);
  } catch (const std::exception& error) {
    reason = error.what();
  }
  if (stop_) throw Error(ErrorKind::kUnavailable, reason);
  if (!what.config.runtime.empty())
    throw Error(ErrorKind::kFailedPrecondition,
                reason + "; if ONNX Runtime supports the model, runtime = \"" + kAnyOnnx + "\" serves it");
  try {
    const VersionFiles other = find_files(what.folder, kAnyOnnx);
    Load noted = what;
    noted.note = "ONNX Runtime runs it, because " + reason;
    return load_files(noted, other, {other.path});
  } catch (const std::exception& error) {
    throw Error(ErrorKind::kFailedPrecondition, reason + "; in ONNX Runtime: " + error.what());
  }
}

std::unique_ptr<Servable> VersionLoader::load_compiled(const Load& what, const VersionFiles& files) const {
  if (!what.source) throw Error(ErrorKind::kUnavailable, "its files are changing; they may not be whole yet");
  const int threads = threads_of(what.config, cores_);
  const CompileOptions how{options_.python, options_.cache, options_.compiler_version, stop_};
  std::vector<std::string> paths;
  for (const int64_t batch : what.config.batches) paths.push_back(compile(*what.source, threads, batch, how));
  if (paths.empty()) paths.push_back(compile(*what.source, threads, 0, how));
  return load_files(what, files, paths);
}

std::unique_ptr<Servable> VersionLoader::load_files(const Load& what, const VersionFiles& files,
                                                    const std::vector<std::string>& paths) const {
  if (!what.config.operators.empty() && !files.runtime->takes_operators)
    throw Error(ErrorKind::kFailedPrecondition,
                "config.toml: operators are for the runtimes loopwright and onnxruntime");
  LoadOptions where;
  where.libraries = options_.libraries;
  where.python = options_.python;
  where.stop = &stop_;
  where.label = "model=" + model_ + " version=" + std::to_string(what.number);
  where.log = [log = log_, number = what.number](const std::string& event) { log(number, event); };
  return std::make_unique<Version>(model_, what.number, *files.runtime, paths, what.config, std::move(where), what.note,
                                   cores_, what.metrics);
}

std::vector<std::string> VersionLoader::possible_runtimes(const Load& what) const {
  const VersionFiles files = find_files(what.folder, what.config.runtime);
  std::vector<std::string> names{files.runtime->name};
  if (!what.config.runtime.empty() || !files.compile) return names;
  // An ONNX model: all runtimes that read it, and whose library is there.
  for (const Runtime& runtime : runtimes()) {
    if (runtime.name == names.front() || !options_.libraries.count(runtime.name)) continue;
    for (const char* file : runtime.files)
      if (fs::path(files.path).filename() == file) names.emplace_back(runtime.name);
  }
  return names;
}

std::string VersionLoader::record_of(const Load& what) const {
  // Names and sizes, not contents: other weights take as long.
  std::set<std::string> lines;
  for (const auto& entry : fs::recursive_directory_iterator(what.folder))
    if (entry.is_regular_file())
      lines.insert(fs::relative(entry.path(), what.folder).string() + ' ' + std::to_string(entry.file_size()));
  std::ostringstream key;
  key << model_ << ' ' << options_.compiler_version << ' ' << cores_.cpus().size() << ' ' << what.config.runtime << ' '
      << what.config.threads << ' ' << (what.config.slo_ms > 0);
  for (const int64_t batch : what.config.batches) key << ' ' << batch;
  for (const Isa isa : available_isas()) key << ' ' << name(isa);
  for (const auto& [name, library] : options_.libraries) {
    std::error_code none;
    key << '\n' << library << ' ' << fs::file_size(library, none);  // another release has another size
  }
  for (const auto& [name, value] : what.config.parameters) key << '\n' << name << '=' << value;
  for (const std::string& library : what.config.operators) key << ' ' << sha256_of_file(library);
  for (const std::string& line : lines) key << '\n' << line;
  return (fs::path(options_.cache) / (sha256_of(key.str()) + ".measured.json")).string();
}

std::unique_ptr<Servable> VersionLoader::load_best(const Load& what) const {
  const std::string record = record_of(what);
  const auto config_of = [&what](const Candidate& candidate) {
    ModelConfig config = what.config;
    config.is_auto = false;
    config.runtime = candidate.runtime;
    config.instances = candidate.instances;
    config.threads = candidate.threads;
    return config;
  };
  const std::vector<Candidate> possible = candidates(possible_runtimes(what), static_cast<int>(cores_.cpus().size()),
                                                     cores_.most_threads(), what.config.threads);
  std::vector<Candidate> measured = read_candidates(record);
  if (!same_candidates(measured, possible)) {
    measured = possible;
    for (Candidate& each : measured) {
      if (stop_) throw Error(ErrorKind::kUnavailable, "the server is stopping");
      try {
        const ModelConfig config = config_of(each);
        Metrics unused;  // what is measured here is not a request
        const auto model = load(Load{what.number, what.folder, config, unused, "", what.source});
        const int64_t most_items = config.batches.empty() ? 1 : config.batches.back();
        measure(each, *model, most_items, config.slo_ms > 0);
      } catch (const std::exception& error) {
        each.reason = error.what();
      }
      log_(what.number, "measured " + text_of(each));
    }
    if (stop_) throw Error(ErrorKind::kUnavailable, "the server is stopping");
    try {
      best_of(measured, what.config.slo_ms);
    } catch (const Error& error) {  // all failed, such as a model that rejects zeros: that is not kept
      ModelConfig config = what.config;
      config.is_auto = false;
      return load(Load{what.number, what.folder, config, what.metrics, std::string("not measured: ") + error.what(),
                       what.source});
    }
    write_candidates(record, measured);
  }
  const Candidate& best = best_of(measured, what.config.slo_ms);
  const ModelConfig config = config_of(best);
  std::string note = "chosen: " + text_of(best);
  if (what.config.slo_ms > 0 && best.p99_ms > what.config.slo_ms) note += ", above slo_ms";
  try {
    return load(Load{what.number, what.folder, config, what.metrics, note, what.source});
  } catch (const std::exception&) {
    std::error_code none;
    fs::remove(record, none);  // what was measured does not hold any more
    throw;
  }
}

}  // namespace loopwright::serving
