#include "core/specs.h"

#include <algorithm>

#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

constexpr size_t kMostTimes = 4;  // as numbers and as classes; some clients name an output twice

bool fits(const std::vector<int64_t>& shape, const std::vector<int64_t>& spec) {
  return std::equal(shape.begin(), shape.end(), spec.begin(), spec.end(),
                    [](int64_t size, int64_t wanted) { return wanted < 0 || size == wanted; });
}

}  // namespace

const TensorSpec* find_spec(const std::vector<TensorSpec>& specs, const std::string& name) {
  const auto found =
      std::find_if(specs.begin(), specs.end(), [&name](const TensorSpec& spec) { return spec.name == name; });
  return found == specs.end() ? nullptr : &*found;
}

std::string names_of(const std::vector<TensorSpec>& specs) {
  std::string names;
  for (const TensorSpec& spec : specs) names += (names.empty() ? "" : ", ") + spec.name;
  return names;
}

size_t place_of(const std::vector<TensorSpec>& specs, const std::string& name, const char* owner, const char* what) {
  const TensorSpec* found = find_spec(specs, name);
  if (!found)
    throw invalid(std::string(owner) + " has no " + what + " '" + name + "'; choose from: " + names_of(specs));
  return static_cast<size_t>(found - specs.data());
}

std::vector<size_t> ordered_outputs(const Request& request, const std::vector<TensorSpec>& specs, const char* owner) {
  std::vector<size_t> wanted;
  if (request.outputs.empty())
    for (size_t i = 0; i < specs.size(); ++i) wanted.push_back(i);
  if (request.outputs.size() > kMostTimes * specs.size())  // small requests must not have large responses
    throw invalid("a request names each output at most " + std::to_string(kMostTimes) + " times; " + owner + " has " +
                  std::to_string(specs.size()) + ", and the request names " + std::to_string(request.outputs.size()));
  for (const WantedOutput& output : request.outputs) wanted.push_back(place_of(specs, output.name, owner, "output"));
  return wanted;
}

std::vector<Tensor> ordered_inputs(const Request& request, const std::vector<TensorSpec>& specs, const char* owner) {
  std::vector<Tensor> inputs(specs.size());
  std::vector<bool> given(specs.size());
  for (const NamedTensor& input : request.inputs) {
    const size_t place = place_of(specs, input.name, owner, "input");
    const TensorSpec& spec = specs[place];
    if (given[place]) throw invalid("input '" + input.name + "' is given twice");
    if (input.tensor.type() != spec.type)
      throw invalid("input '" + input.name + "' must be of " + name(spec.type) + ", got " + name(input.tensor.type()));
    if (!fits(input.tensor.shape(), spec.shape))
      throw invalid("input '" + input.name + "' must have the shape " + text(spec.shape) + ", got " +
                    text(input.tensor.shape()));
    given[place] = true;
    inputs[place] = input.tensor;
  }
  for (size_t i = 0; i < specs.size(); ++i)
    if (!given[i]) throw invalid("input '" + specs[i].name + "' is missing; " + owner + " takes: " + names_of(specs));
  return inputs;
}

}  // namespace loopwright::serving
