// The text of a machine model: one fact per line, fields separated by commas.
//
//   loopwright machine model,1
//   cpu,AuthenticAMD-26-2
//   source,measured
//   cores,2
//   ghz,4.26
//   caches,49152,1048576,33554432
//   bandwidth,l1,<bytes per cycle of 1 thread>,<of 2 threads>,...
//   fork_join,0,<cycles with 2 threads>,...      barrier also
//   kernels,avx512,float32,prefetch,4096         then, for these kernels:
//   winograd,<which>,<start of the input's transform>,<per vector>,<of the output's>,<per vector>
//   strassen_sum,<cycles>                        cell and call also
//   tile,<rows>,<half vectors>,<start>,<L1>,<L2>,<L3>,<memory>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <sstream>
#include <stdexcept>

#include "loopwright/machine_model.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

constexpr const char* kTitle = "loopwright machine model";
constexpr const char* kLevelNames[kLevels] = {"l1", "l2", "l3", "memory"};
constexpr size_t kMostBytes = size_t{1} << 22;
constexpr int kMostCores = 4096;

using Fields = std::vector<std::string>;

std::string digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.5g", value);
  return text;
}

Fields split(const std::string& line) {
  Fields fields;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, ',');) fields.push_back(field);
  return fields;
}

[[noreturn]] void invalid(const std::string& line) { throw std::invalid_argument("invalid line '" + line + "'"); }

double number(const Fields& fields, size_t i, double most = 1e12) {
  const std::string& text = fields.at(i);
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= 0 && value <= most)) throw std::out_of_range(text);
  return value;
}

int integer(const Fields& fields, size_t i, int least, int most) {
  const double value = number(fields, i, most);
  if (value < least || value != std::floor(value)) throw std::out_of_range(fields.at(i));
  return static_cast<int>(value);
}

std::vector<double> numbers(const Fields& fields, size_t first) {
  std::vector<double> values;
  for (size_t i = first; i < fields.size(); ++i) values.push_back(number(fields, i));
  if (values.empty() || values.size() > kMostCores) throw std::out_of_range("");
  return values;
}

KernelCosts& last_kernels(MachineModel& model) {
  if (model.kernels.empty()) throw std::out_of_range("");
  return model.kernels.back();
}

void parse_line(MachineModel& model, const Fields& fields) {
  const std::string& kind = fields.at(0);
  if (kind == "cpu") {
    model.cpu = fields.at(1);
  } else if (kind == "source") {
    if (fields.at(1) != "measured" && fields.at(1) != "interpolated") throw std::out_of_range("");
    model.source = fields.at(1) == "measured" ? MachineModel::Source::kMeasured : MachineModel::Source::kInterpolated;
  } else if (kind == "cores") {
    model.cores = integer(fields, 1, 1, kMostCores);
  } else if (kind == "ghz") {
    model.ghz = number(fields, 1, 100);
    if (model.ghz < 0.01) throw std::out_of_range("");
  } else if (kind == "caches") {
    for (size_t level = 0; level < model.cache_bytes.size(); ++level)
      model.cache_bytes[level] = static_cast<int64_t>(number(fields, level + 1));
  } else if (kind == "bandwidth") {
    const auto* name = std::find(std::begin(kLevelNames), std::end(kLevelNames), fields.at(1));
    if (name == std::end(kLevelNames)) throw std::out_of_range("");
    std::vector<double> values = numbers(fields, 2);
    if (*std::min_element(values.begin(), values.end()) < 1e-3) throw std::out_of_range("");
    model.bandwidth[static_cast<size_t>(name - std::begin(kLevelNames))] = std::move(values);
  } else if (kind == "fork_join") {
    model.fork_join = numbers(fields, 1);
  } else if (kind == "barrier") {
    model.barrier = numbers(fields, 1);
  } else if (kind == "kernels") {
    KernelCosts costs;
    costs.isa = parse_isa(fields.at(1));
    costs.dtype = parse_dtype(fields.at(2));
    costs.prefetch_bytes = integer(fields, 4, 0, 1 << 20);
    model.kernels.push_back(std::move(costs));
  } else if (kind == "winograd") {
    last_kernels(model).winograd.at(static_cast<size_t>(integer(fields, 1, 0, 2))) = {
        {number(fields, 2), number(fields, 3)}, {number(fields, 4), number(fields, 5)}};
  } else if (kind == "strassen_sum") {
    last_kernels(model).strassen_sum = number(fields, 1);
  } else if (kind == "cell") {
    last_kernels(model).cell = number(fields, 1);
  } else if (kind == "call") {
    last_kernels(model).call = number(fields, 1);
  } else if (kind == "tile") {
    TileCost& tile = last_kernels(model).tile(integer(fields, 1, 1, KernelCosts::kMaxRows),
                                              integer(fields, 2, 1, KernelCosts::kMaxHalves));
    tile.start = number(fields, 3);
    for (size_t level = 0; level < kLevels; ++level) tile.step[level] = number(fields, 4 + level);
  } else {
    throw std::out_of_range("");
  }
}

// Takes costs from `other` where `model` has zeros. A model of a CPU with another set of instructions, or of an earlier
// version, lacks some.
void complete(MachineModel& model, const MachineModel& other) {
  for (size_t level = 0; level < kLevels; ++level)
    if (model.bandwidth[level].empty()) model.bandwidth[level] = other.bandwidth[level];
  if (model.fork_join.empty()) model.fork_join = other.fork_join;
  if (model.barrier.empty()) model.barrier = other.barrier;
  for (const KernelCosts& known : other.kernels) {
    const auto same = [&](const KernelCosts& k) { return k.isa == known.isa && k.dtype == known.dtype; };
    const auto own = std::find_if(model.kernels.begin(), model.kernels.end(), same);
    if (own == model.kernels.end()) {
      model.kernels.push_back(known);
      continue;
    }
    for (int rows = 1; rows <= KernelCosts::kMaxRows; ++rows)
      for (int halves = 1; halves <= KernelCosts::kMaxHalves; ++halves)
        if (own->tile(rows, halves).step[0] == 0) own->tile(rows, halves) = known.tile(rows, halves);
  }
}

void write(std::ostream& out, const std::string& name, const std::vector<double>& values) {
  out << name;
  for (const double value : values) out << ',' << digits(value);
  out << '\n';
}

void write(std::ostream& out, const KernelCosts& costs) {
  out << "kernels," << name(costs.isa) << ',' << name(costs.dtype) << ",prefetch," << costs.prefetch_bytes << '\n';
  for (size_t i = 0; i < costs.winograd.size(); ++i) {
    const auto& [input, output] = costs.winograd[i];
    write(out, "winograd," + std::to_string(i), {input.start, input.vector, output.start, output.vector});
  }
  write(out, "strassen_sum", {costs.strassen_sum});
  write(out, "cell", {costs.cell});
  write(out, "call", {costs.call});
  for (int rows = 1; rows <= KernelCosts::kMaxRows; ++rows)
    for (int halves = 1; halves <= KernelCosts::kMaxHalves; ++halves) {
      const TileCost& tile = costs.tile(rows, halves);
      if (tile.step[0] == 0) continue;
      out << "tile," << rows << ',' << halves << ',' << digits(tile.start);
      for (const double step : tile.step) out << ',' << digits(step);
      out << '\n';
    }
}

}  // namespace

std::string MachineModel::text() const {
  std::ostringstream out;
  out << kTitle << ",1\ncpu," << cpu << "\nsource," << (source == Source::kMeasured ? "measured" : "interpolated")
      << "\ncores," << cores << "\nghz," << digits(ghz) << "\ncaches," << cache_bytes[0] << ',' << cache_bytes[1] << ','
      << cache_bytes[2] << '\n';
  for (size_t level = 0; level < kLevels; ++level)
    write(out, std::string("bandwidth,") + kLevelNames[level], bandwidth[level]);
  write(out, "fork_join", fork_join);
  write(out, "barrier", barrier);
  for (const KernelCosts& costs : kernels) write(out, costs);
  return out.str();
}

MachineModel MachineModel::parse(const std::string& text) {
  if (text.size() > kMostBytes) throw std::invalid_argument("a machine model has at most 4 MiB");
  std::istringstream in(text);
  std::string line;
  std::getline(in, line);
  if (line != std::string(kTitle) + ",1")
    throw std::invalid_argument("the first line must be '" + std::string(kTitle) + ",1'");
  MachineModel model;
  while (std::getline(in, line)) {
    if (line.empty()) continue;
    try {
      parse_line(model, split(line));
    } catch (const std::logic_error&) {  // a field is missing, is not a number, or is out of range
      invalid(line);
    }
  }
  if (model.cpu.empty() || model.cache_bytes[0] == 0 || model.cache_bytes[1] == 0)
    throw std::invalid_argument("the lines cpu and caches are missing");
  complete(model, interpolated(model.cores));
  return model;
}

std::string MachineModel::id() const {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const char c : text()) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  char digest[9];
  std::snprintf(digest, sizeof digest, "%08x", static_cast<unsigned>(hash >> 32));
  return cpu + "-" + std::to_string(cores) + "-" + (source == Source::kMeasured ? "measured-" : "interpolated-") +
         digest;
}

}  // namespace loopwright
