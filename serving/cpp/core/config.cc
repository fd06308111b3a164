#include "core/config.h"

#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "core/names.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

constexpr int64_t kMostThreads = 4096, kMostQueue = 1'000'000, kMostMillis = 86'400'000, kMostBatch = 1024;
constexpr size_t kMostSteps = 64;

// The entries of a table, which must all be read before the end.
class Table {
 public:
  Table(const toml::table& table, std::string place) : table_(table), place_(std::move(place)) {}

  std::optional<int64_t> integer(const char* key, int64_t least, int64_t most) {
    const toml::node* node = find(key);
    if (!node) return std::nullopt;
    const auto value = node->is_integer() ? node->value<int64_t>() : std::nullopt;
    if (!value || *value < least || *value > most)
      throw invalid(place_ + key + " must be a number from " + std::to_string(least) + " to " + std::to_string(most));
    return value;
  }
  std::optional<double> number(const char* key, double least, double most) {
    const toml::node* node = find(key);
    if (!node) return std::nullopt;
    const auto value = node->value<double>();
    if (!value || !(*value >= least && *value <= most)) {
      std::ostringstream text;
      text << place_ << key << " must be a number from " << least << " to " << most;
      throw invalid(text.str());
    }
    return value;
  }
  std::optional<std::string> string(const char* key) {
    const toml::node* node = find(key);
    if (!node) return std::nullopt;
    if (!node->is_string()) throw invalid(place_ + key + " must be a string");
    return node->value<std::string>();
  }
  const toml::table* table(const char* key) {
    const toml::node* node = find(key);
    if (node && !node->is_table()) throw invalid(place_ + key + " must be a table");
    return node ? node->as_table() : nullptr;
  }
  const toml::node* find(const char* key) {
    known_.insert(key);
    return table_.get(key);
  }
  // Throws if there is an entry that nobody read.
  void end() const {
    for (const auto& [key, value] : table_) {
      if (known_.count(std::string(key.str()))) continue;
      std::string names;
      for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name;
      throw invalid(place_ + std::string(key.str()) + " is not an entry; choose from: " + names);
    }
  }

 private:
  const toml::table& table_;
  const std::string place_;
  std::set<std::string> known_;
};

VersionPolicy policy(const toml::node& node) {
  VersionPolicy result;
  if (const auto text = node.value<std::string>(); node.is_string() && *text == "all") {
    result.kind = VersionPolicy::Kind::kAll;
  } else if (const auto number = node.value<int64_t>(); node.is_integer() && *number >= 1 && *number <= kMostThreads) {
    result.latest = static_cast<int>(*number);
  } else if (const toml::array* list = node.as_array(); list && !list->empty()) {
    result.kind = VersionPolicy::Kind::kSpecific;
    for (const toml::node& entry : *list) {
      const auto version = entry.value<int64_t>();
      if (!entry.is_integer() || *version < 1) throw invalid("versions must list numbers from 1 up");
      result.specific.push_back(*version);
    }
  } else {
    throw invalid("versions must be \"all\", a number of latest ones, or a list of versions");
  }
  return result;
}

std::vector<int64_t> batch_sizes(const toml::node& node) {
  const toml::array* list = node.as_array();
  std::vector<int64_t> result;
  if (list)
    for (const toml::node& entry : *list) result.push_back(entry.is_integer() ? *entry.value<int64_t>() : 0);
  const bool ascending = std::adjacent_find(result.begin(), result.end(), std::greater_equal<>()) == result.end();
  if (result.empty() || result.front() != 1 || !ascending || result.back() > kMostBatch)
    throw invalid("batches must list ascending sizes from 1 to " + std::to_string(kMostBatch) +
                  " that begin with 1, such as [1, 2, 4, 8]");
  return result;
}

// Returns the paths of libraries, which are relative to the folder of the file.
std::vector<std::string> libraries(const toml::node& node, const std::string& file) {
  const toml::array* list = node.as_array();
  std::vector<std::string> result;
  if (list)
    for (const toml::node& entry : *list)
      result.push_back(std::filesystem::absolute(file).parent_path() / entry.value_or<std::string>(""));
  if (result.empty() || !std::all_of(list->begin(), list->end(), [](const toml::node& entry) {
        return entry.is_string() && !entry.value<std::string>()->empty();
      }))
    throw invalid("operators must list paths of libraries, such as [\"libmyop.so\"]");
  return result;
}

std::map<std::string, Label> labels(const toml::table& table) {
  std::map<std::string, Label> result;
  double percent = 0;
  for (const auto& [key, value] : table) {
    const std::string label(key.str());
    check_name(label, "label");
    if (is_number(label)) throw invalid("labels." + label + " must not be a number");
    const toml::table* entries = value.as_table();
    if (!entries) throw invalid("labels." + label + " must be a table such as {version = 2}");
    Table entry(*entries, "labels." + label + ".");
    Label made;
    const auto version = entry.integer("version", 1, INT64_MAX);
    if (!version) throw invalid("labels." + label + " has no version");
    made.version = *version;
    made.percent = entry.number("percent", 0, 100).value_or(0);
    made.previous = entry.integer("previous", 1, INT64_MAX).value_or(0);
    made.previous_percent = entry.number("previous_percent", 0, 100).value_or(0);
    entry.end();
    percent += made.percent;
    result.emplace(label, made);
  }
  if (percent > 100) throw invalid("the percent of all labels are above 100");
  return result;
}

std::map<std::string, std::string> texts(const toml::table& table, const std::string& place) {
  std::map<std::string, std::string> result;
  for (const auto& [key, value] : table) {
    if (!value.is_string()) throw invalid(place + std::string(key.str()) + " must be a string");
    result.emplace(std::string(key.str()), *value.value<std::string>());
  }
  return result;
}

std::vector<StepConfig> steps(const toml::node& node) {
  const toml::array* list = node.as_array();
  if (!list || list->empty() || list->size() > kMostSteps)
    throw invalid("steps must be 1 to " + std::to_string(kMostSteps) + " tables [[steps]]");
  std::vector<StepConfig> result;
  for (const toml::node& entry : *list) {
    const std::string place = "steps[" + std::to_string(result.size()) + "].";
    const toml::table* entries = entry.as_table();
    if (!entries) throw invalid("steps must be tables [[steps]]");
    Table table(*entries, place);
    StepConfig step;
    step.model = table.string("model").value_or("");
    step.version = table.string("version").value_or("");
    if (const toml::table* inputs = table.table("inputs")) step.inputs = texts(*inputs, place + "inputs.");
    if (const toml::table* outputs = table.table("outputs")) step.outputs = texts(*outputs, place + "outputs.");
    table.end();
    check_name(step.model, (place + "model").c_str());
    if (!step.version.empty()) check_name(step.version, (place + "version").c_str());
    result.push_back(std::move(step));
  }
  return result;
}

std::vector<std::string> strings(const toml::node& node, const char* what) {
  const toml::array* list = node.as_array();
  std::vector<std::string> result;
  if (list)
    for (const toml::node& entry : *list)
      if (entry.is_string()) result.push_back(*entry.value<std::string>());
  if (!list || result.size() != list->size()) throw invalid(std::string(what) + " must be a list of strings");
  return result;
}

toml::table parse(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw invalid("cannot read " + path);
  try {
    return toml::parse(file, path);
  } catch (const toml::parse_error& error) {
    throw invalid("line " + std::to_string(error.source().begin.line) + ": " + std::string(error.description()));
  }
}

// Throws for anything but a file: to open a FIFO would wait.
bool exists(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return false;
  if (!S_ISREG(status.st_mode)) throw invalid("it is not a file");
  return true;
}

}  // namespace

ModelConfig read_config(const std::string& path) try {
  ModelConfig config;
  if (!exists(path)) return config;
  const toml::table parsed = parse(path);
  Table table(parsed, "");
  if (const auto millis = table.integer("timeout_ms", 1, kMostMillis))
    config.timeout = std::chrono::milliseconds(*millis);
  if (const toml::node* node = table.find("steps")) {  // a pipeline, which has nothing else
    config.steps = steps(*node);
    if (const toml::node* outputs = table.find("outputs")) config.outputs = strings(*outputs, "outputs");
    table.end();
    return config;
  }
  config.runtime = table.string("runtime").value_or("");
  const toml::node* instances = table.find("instances");
  config.is_auto = instances && instances->is_string() && *instances->value<std::string>() == "auto";
  if (!config.is_auto && instances && !instances->is_integer())
    throw invalid("instances must be a number from 1 to " + std::to_string(kMostThreads) + ", or \"auto\"");
  if (!config.is_auto) config.instances = static_cast<int>(table.integer("instances", 1, kMostThreads).value_or(1));
  if (const auto slo = table.number("slo_ms", 1e-3, static_cast<double>(kMostMillis))) {
    if (!config.is_auto) throw invalid("slo_ms needs instances = \"auto\"");
    config.slo_ms = *slo;
  }
  config.threads = static_cast<int>(table.integer("threads", 0, kMostThreads).value_or(0));
  config.max_queue = static_cast<int>(table.integer("max_queue", 1, kMostQueue).value_or(config.max_queue));
  if (const toml::node* node = table.find("batches")) config.batches = batch_sizes(*node);
  if (const toml::node* node = table.find("versions")) config.versions = policy(*node);
  if (const toml::table* entries = table.table("labels")) config.labels = labels(*entries);
  if (const toml::table* entries = table.table("parameters")) config.parameters = texts(*entries, "parameters.");
  if (const toml::node* node = table.find("operators")) config.operators = libraries(*node, path);
  table.end();
  return config;
} catch (const Error& error) {
  throw invalid("config.toml: " + std::string(error.what()));
}

std::optional<std::map<std::string, Label>> read_labels(const std::string& path) try {
  if (!exists(path)) return std::nullopt;
  return labels(parse(path));
} catch (const Error& error) {
  throw invalid("labels.toml: " + std::string(error.what()));
}

void write_labels(const std::string& path, const std::map<std::string, Label>& labels) {
  toml::table table;
  for (const auto& [label, entry] : labels) {
    toml::table values{{"version", entry.version}};
    if (entry.percent > 0) values.insert("percent", entry.percent);
    if (entry.previous > 0) values.insert("previous", entry.previous);
    if (entry.previous_percent > 0) values.insert("previous_percent", entry.previous_percent);
    table.insert(label, std::move(values));
  }
  const std::string part = path + ".part";
  {
    std::ofstream file(part, std::ios::trunc);
    file << table << '\n';
    if (!file.flush()) throw Error(ErrorKind::kInternal, "cannot write " + part);
  }
  if (rename(part.c_str(), path.c_str()) != 0) throw Error(ErrorKind::kInternal, "cannot write " + path);
}

}  // namespace loopwright::serving
