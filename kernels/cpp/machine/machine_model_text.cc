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
//
// Numbers have the "C" locale's form, whichever one the program has set.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <locale>
#include <sstream>
#include <stdexcept>

#include "loopwright/machine_model.h"

namespace loopwright {
namespace {

constexpr const char* kTitle = "loopwright machine model";
constexpr const char* kLevelNames[kLevels] = {"l1", "l2", "l3", "memory"};
constexpr int kMostCores = 4096;
constexpr size_t kLongestName = 64;

using Fields = std::vector<std::string>;

// What is wrong with a line.
struct Invalid {
  std::string reason;
};

void require(bool condition, const std::string& reason) {
  if (!condition) throw Invalid{reason};
}

// Returns the digits from which the same value is parsed: five if they suffice, as for all measured values.
std::string digits(double value) {
  for (const int precision : {5, 17}) {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    out.precision(precision);
    out << value;
    std::istringstream in(out.str());
    in.imbue(std::locale::classic());
    double parsed = 0;
    if (precision == 17 || (in >> parsed && parsed == value)) return out.str();
  }
  return {};
}

Fields split(const std::string& line) {
  Fields fields;
  size_t begin = 0;
  for (size_t comma = line.find(','); comma != std::string::npos; begin = comma + 1, comma = line.find(',', begin))
    fields.push_back(line.substr(begin, comma - begin));
  fields.push_back(line.substr(begin));
  return fields;
}

// Returns text of a file as part of a message: short, printable ASCII.
std::string quoted(const std::string& text) {
  constexpr size_t kMost = 40;
  std::string shown = text.substr(0, kMost);
  for (char& c : shown)
    if (c < ' ' || c > '~') c = '?';
  return "'" + shown + (text.size() > kMost ? "...'" : "'");
}

double number(const std::string& field, double least = 0, double most = 1e12) {
  std::istringstream in(field);
  in.imbue(std::locale::classic());
  double value = 0;
  const bool whole =
      !field.empty() && field[0] != ' ' && in >> value && in.peek() == std::istringstream::traits_type::eof();
  require(whole && value >= least && value <= most,
          quoted(field) + " is not a number from " + digits(least) + " to " + digits(most));
  return value;
}

int64_t integer(const std::string& field, double least, double most) {
  const double value = number(field, least, most);
  require(value == std::floor(value), quoted(field) + " is not an integer");
  return static_cast<int64_t>(value);
}

std::vector<double> numbers(const Fields& fields, size_t first, double least = 0) {
  require(fields.size() > first && fields.size() - first <= kMostCores, "it must have one number per core");
  std::vector<double> values;
  for (size_t i = first; i < fields.size(); ++i) values.push_back(number(fields[i], least));
  return values;
}

KernelCosts& last_kernels(MachineModel& model) {
  require(!model.kernels.empty(), "a line 'kernels' must precede it");
  return model.kernels.back();
}

void parse_kernels(MachineModel& model, const Fields& fields) {
  KernelCosts costs;
  try {
    costs.isa = parse_isa(fields[1]);
    costs.dtype = parse_dtype(fields[2]);
  } catch (const std::invalid_argument&) {
    throw Invalid{quoted(fields[1] + "," + fields[2]) + " is not an ISA and a dtype"};
  }
  require(fields[3] == "prefetch", quoted(fields[3]) + " must be 'prefetch'");
  costs.prefetch_bytes = static_cast<int>(integer(fields[4], 0, 1 << 20));
  for (const KernelCosts& other : model.kernels)
    require(other.isa != costs.isa || other.dtype != costs.dtype, "these kernels are listed twice");
  model.kernels.push_back(std::move(costs));
}

void parse_tile(KernelCosts& costs, const Fields& fields) {
  constexpr double kLeastStep = 1e-6;  // no tile is free
  TileCost& tile = costs.tile(static_cast<int>(integer(fields[1], 1, KernelCosts::kMaxRows)),
                              static_cast<int>(integer(fields[2], 1, KernelCosts::kMaxHalves)));
  tile.start = number(fields[3]);
  for (size_t level = 0; level < kLevels; ++level) tile.step[level] = number(fields[4 + level], kLeastStep);
}

bool is_cpu(const std::string& name) {
  return !name.empty() && name.size() <= kLongestName && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_' ||
           c == '.';
  });
}

void parse_line(MachineModel& model, const Fields& fields) {
  constexpr double kLeastBandwidth = 1e-3;
  const std::string& kind = fields[0];
  const auto count = [&](size_t expected) {
    require(fields.size() == expected + 1, "it must have " + std::to_string(expected) + " fields after its name");
  };
  if (kind == "cpu") {
    count(1);
    require(is_cpu(fields[1]), "the name of a CPU has up to 64 letters, digits, '-', '_' and '.'");
    model.cpu = fields[1];
  } else if (kind == "source") {
    count(1);
    const bool measured = fields[1] == "measured";
    require(measured || fields[1] == "interpolated", "the source must be 'measured' or 'interpolated'");
    model.source = measured ? MachineModel::Source::kMeasured : MachineModel::Source::kInterpolated;
  } else if (kind == "cores") {
    count(1);
    model.cores = static_cast<int>(integer(fields[1], 1, kMostCores));
  } else if (kind == "ghz") {
    count(1);
    model.ghz = number(fields[1], 0.01, 100);
  } else if (kind == "caches") {
    count(model.cache_bytes.size());
    for (size_t level = 0; level < model.cache_bytes.size(); ++level)
      model.cache_bytes[level] = integer(fields[level + 1], level < 2 ? 1024 : 0, 1e12);
  } else if (kind == "bandwidth") {
    require(fields.size() > 1, "it must name a level");
    const auto* name = std::find(std::begin(kLevelNames), std::end(kLevelNames), fields[1]);
    require(name != std::end(kLevelNames), quoted(fields[1]) + " is not l1, l2, l3 or memory");
    model.bandwidth[static_cast<size_t>(name - std::begin(kLevelNames))] = numbers(fields, 2, kLeastBandwidth);
  } else if (kind == "fork_join") {
    model.fork_join = numbers(fields, 1);
  } else if (kind == "barrier") {
    model.barrier = numbers(fields, 1);
  } else if (kind == "kernels") {
    count(4);
    parse_kernels(model, fields);
  } else if (kind == "winograd") {
    count(5);
    const auto which = static_cast<size_t>(integer(fields[1], 0, 2));
    last_kernels(model).winograd[which] = {{number(fields[2]), number(fields[3])},
                                           {number(fields[4]), number(fields[5])}};
  } else if (kind == "strassen_sum") {
    count(1);
    last_kernels(model).strassen_sum = number(fields[1]);
  } else if (kind == "cell") {
    count(1);
    last_kernels(model).cell = number(fields[1]);
  } else if (kind == "call") {
    count(1);
    last_kernels(model).call = number(fields[1]);
  } else if (kind == "tile") {
    count(3 + kLevels);
    parse_tile(last_kernels(model), fields);
  } else {
    throw Invalid{
        "a line must begin with cpu, source, cores, ghz, caches, bandwidth, fork_join, barrier, kernels, "
        "winograd, strassen_sum, cell, call or tile"};
  }
}

void check_threads(const MachineModel& model) {
  const auto check = [&](const char* name, const std::vector<double>& values) {
    if (values.empty() || values.size() == static_cast<size_t>(model.cores)) return;
    throw std::invalid_argument(std::string("a line '") + name + "' has " + std::to_string(values.size()) +
                                " numbers, for " + std::to_string(model.cores) + " cores");
  };
  for (const std::vector<double>& values : model.bandwidth) check("bandwidth", values);
  check("fork_join", model.fork_join);
  check("barrier", model.barrier);
}

// Takes what `model` lacks from `other`: a model of another CPU lacks an ISA, or one of an earlier version a tile.
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
    const auto fill = [](double& value, double from) { value = value == 0 ? from : value; };
    const auto fill_transform = [](TransformCost& cost, const TransformCost& from) {
      if (cost.vector == 0) cost = from;
    };
    for (size_t i = 0; i < own->winograd.size(); ++i) {
      fill_transform(own->winograd[i].input, known.winograd[i].input);
      fill_transform(own->winograd[i].output, known.winograd[i].output);
    }
    fill(own->strassen_sum, known.strassen_sum);
    fill(own->cell, known.cell);
    fill(own->call, known.call);
    for (int rows = 1; rows <= KernelCosts::kMaxRows; ++rows)
      for (int halves = 1; halves <= KernelCosts::kMaxHalves; ++halves)
        if (own->tile(rows, halves).step[0] == 0) {
          // Where half a vector costs as much as a whole one, only the latter is measured.
          const TileCost& whole = own->tile(rows, halves + halves % 2);
          own->tile(rows, halves) = whole.step[0] > 0 ? whole : known.tile(rows, halves);
        }
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
  out.imbue(std::locale::classic());
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
  if (text.size() > kMostBytes) throw std::invalid_argument("it has more than 4 MiB");
  std::istringstream in(text);
  std::string line;
  std::getline(in, line);
  if (line != std::string(kTitle) + ",1")
    throw std::invalid_argument("the first line must be '" + std::string(kTitle) + ",1'");
  MachineModel model;
  std::vector<std::string> kinds;
  for (int64_t number = 2; std::getline(in, line); ++number) {
    if (line.empty()) continue;
    const Fields fields = split(line);
    try {
      parse_line(model, fields);
    } catch (const Invalid& error) {
      throw std::invalid_argument("line " + std::to_string(number) + ", " + quoted(line) + ": " + error.reason);
    }
    if (model.kernels.empty()) kinds.push_back(fields[0]);
  }
  for (const char* kind : {"cpu", "source", "cores", "ghz", "caches"})
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end())
      throw std::invalid_argument(std::string("there is no line '") + kind + "' before those of the kernels");
  check_threads(model);
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
