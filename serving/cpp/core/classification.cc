#include "core/classification.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>
#include <type_traits>

#include "core/elements.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

constexpr off_t kMostLabelBytes = off_t{64} << 20;

template <class T>
T value_of(T bits) {
  return bits;
}
float value_of(Fp16 value) { return to_float(value); }
float value_of(Bf16 value) { return to_float(value); }

template <class T>
std::string largest(const Tensor& output, int64_t rows, int64_t size, int64_t count,
                    const std::vector<std::string>& labels) {
  std::string bytes;
  std::vector<int64_t> order(static_cast<size_t>(size));
  for (int64_t row = 0; row < rows; ++row) {
    // Views of a message may not be aligned.
    const char* data = static_cast<const char*>(output.data()) + row * size * static_cast<int64_t>(sizeof(T));
    const auto value = [data](int64_t place) {
      T bits;
      std::memcpy(&bits, data + place * static_cast<int64_t>(sizeof(T)), sizeof(T));
      return value_of(bits);
    };
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + count, order.end(), [&value](int64_t a, int64_t b) {
      const auto x = value(a), y = value(b);
      const bool x_is_nan = x != x, y_is_nan = y != y;
      if (x_is_nan || y_is_nan) return x_is_nan == y_is_nan ? a < b : y_is_nan;
      return x == y ? a < b : x > y;
    });
    for (int64_t i = 0; i < count; ++i) {
      const auto place = static_cast<size_t>(order[static_cast<size_t>(i)]);
      std::string text = std::to_string(value(static_cast<int64_t>(place))) + ':' + std::to_string(place);
      if (place < labels.size()) text += ':' + labels[place];
      append_element(bytes, text);
    }
  }
  return bytes;
}

using Largest = std::string (*)(const Tensor&, int64_t, int64_t, int64_t, const std::vector<std::string>&);

// Returns null for types without classes.
Largest largest_of(DataType type) {
  return with_element_type(type, [](auto element) -> Largest {
    using T = typename decltype(element)::type;
    if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, Bytes>)
      return nullptr;
    else
      return largest<T>;
  });
}

}  // namespace

Done with_classes(const Servable& servable, const Request& request, Done done) {
  struct Wanted {
    int64_t count;
    bool has_rows;
  };
  std::vector<Wanted> wanted;
  bool has_any = false;
  for (const WantedOutput& output : request.outputs) {
    Wanted made{output.classes, false};
    for (const TensorSpec& spec : servable.outputs()) {
      if (made.count == 0 || spec.name != output.name) continue;  // a wrong name is an error later
      if (!largest_of(spec.type))
        throw invalid("output '" + spec.name + "' is of " + name(spec.type) +
                      ", which has no classes; classification needs numbers");
      made.has_rows = spec.shape.size() > 1 && spec.shape.front() < 0;
    }
    wanted.push_back(made);
    has_any |= made.count > 0;
  }
  if (!has_any) return done;
  return [&labels = servable.class_labels(), wanted = std::move(wanted), done = std::move(done)](Result result) {
    if (!result.error)
      for (size_t i = 0; i < wanted.size(); ++i) {
        Tensor& tensor = result.response.outputs[i].tensor;
        if (wanted[i].count > 0) tensor = classes(tensor, wanted[i].count, wanted[i].has_rows, labels);
      }
    done(std::move(result));
  };
}

Tensor classes(const Tensor& output, int64_t count, bool has_rows, const std::vector<std::string>& labels) {
  const std::vector<int64_t>& shape = output.shape();
  has_rows = has_rows && shape.size() > 1;  // a runtime may return another rank than it declared
  const auto first = shape.begin() + (has_rows ? 1 : 0);
  const int64_t rows = has_rows ? shape.front() : 1, size = element_count({first, shape.end()});
  const int64_t found = std::min(count, size);
  std::vector<int64_t> made = has_rows ? std::vector<int64_t>{rows, found} : std::vector<int64_t>{found};
  return Tensor::of(DataType::kBytes, std::move(made), largest_of(output.type())(output, rows, size, found, labels));
}

std::vector<std::string> read_class_labels(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return {};
  if (!S_ISREG(status.st_mode)) throw invalid("labels.txt is not a file");  // to open a FIFO would wait
  if (status.st_size > kMostLabelBytes) throw invalid("labels.txt has more than 64 MiB");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw invalid("cannot read labels.txt");
  std::vector<std::string> labels;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    labels.push_back(line);
  }
  return labels;
}

}  // namespace loopwright::serving
