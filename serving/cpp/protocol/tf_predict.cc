#include "protocol/tf_predict.h"

#include <simdjson.h>

#include <algorithm>

#include "protocol/json_values.h"

namespace loopwright::serving::tf {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

constexpr size_t kMostDepth = 64;

// Returns the shape of arrays in arrays. Throws if some have other lengths than their neighbors.
std::vector<int64_t> shape_of(const element& value) {
  if (value.type() != element_type::ARRAY) return {};
  const array children = value;
  std::vector<int64_t> inner;
  int64_t count = 0;
  for (const element& child : children) {
    const std::vector<int64_t> shape = shape_of(child);
    if (count++ == 0) {
      inner = shape;
    } else if (shape != inner) {
      throw invalid("the arrays of a tensor have different lengths");
    }
  }
  inner.insert(inner.begin(), count);
  return inner;
}

NamedTensor tensor_of(const element& value, const TensorSpec& spec) {
  try {
    std::vector<int64_t> shape = shape_of(value);
    const int64_t count = element_count(shape);
    return {spec.name, Tensor::of(spec.type, std::move(shape), read_elements(value, spec.type, count))};
  } catch (const Error& error) {
    throw Error(error.kind(), "input '" + spec.name + "': " + error.what());
  }
}

const TensorSpec& only(const std::vector<TensorSpec>& inputs) {
  if (inputs.size() != 1)
    throw invalid("the model has " + std::to_string(inputs.size()) + " inputs; give them by name");
  return inputs.front();
}

// Returns one tensor of the rows' values of an input, one behind the other.
NamedTensor stacked(const array& rows, const TensorSpec& spec) {
  std::vector<int64_t> inner;
  std::string bytes;
  int64_t count = 0;
  for (const element& row : rows) {
    object entries;
    element value;
    if (row.get(entries)) throw invalid("\"instances\" must be all objects or none");
    if (entries[spec.name].get(value)) throw invalid("an instance has no input '" + spec.name + "'");
    const NamedTensor made = tensor_of(value, spec);
    if (count++ == 0) inner = made.tensor.shape();
    if (made.tensor.shape() != inner) throw invalid("input '" + spec.name + "' has different shapes in \"instances\"");
    bytes += made.tensor.view();
  }
  inner.insert(inner.begin(), count);
  return {spec.name, Tensor::of(spec.type, std::move(inner), std::move(bytes))};
}

// Appends a value, or an object of values by name if there are several.
template <class Write>
void write_values(std::string& text, const std::vector<NamedTensor>& outputs, const Write& write) {
  if (outputs.size() == 1) return write(outputs.front().tensor);
  text += '{';
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (i > 0) text += ',';
    write_string(text, outputs[i].name);
    text += ':';
    write(outputs[i].tensor);
  }
  text += '}';
}

// Returns one row of a tensor of fixed element size.
Tensor row_of(const Tensor& tensor, int64_t row) {
  const size_t bytes = tensor.bytes() / static_cast<size_t>(tensor.shape()[0]);
  std::vector<int64_t> shape(tensor.shape().begin() + 1, tensor.shape().end());
  return Tensor(tensor.type(), std::move(shape), std::make_shared<Tensor>(tensor),
                static_cast<const char*>(tensor.data()) + static_cast<size_t>(row) * bytes, bytes);
}

}  // namespace

ParsedRequest parse_request(const v2::Body& body, const std::vector<TensorSpec>& inputs) {
  simdjson::dom::parser parser;
  if (parser.allocate(std::max<size_t>(body->size(), 64), kMostDepth))
    throw invalid("the request is too large for JSON");
  element root, instances, columns;
  if (const auto error = parser.parse(body->data(), body->size(), false).get(root))
    throw invalid(std::string("the request is not valid JSON: ") + simdjson::error_message(error));
  object request;
  if (root.get(request)) throw invalid("the request must be a JSON object");
  ParsedRequest parsed;
  const bool has_rows = !request["instances"].get(instances), has_columns = !request["inputs"].get(columns);
  if (has_rows == has_columns) throw invalid("the request must have either \"instances\" or \"inputs\"");
  parsed.by_rows = has_rows;
  if (has_rows) {
    array rows;
    if (instances.get(rows) || rows.size() == 0) throw invalid("\"instances\" must be an array of at least one");
    if (rows.at(0).type() == element_type::OBJECT) {
      for (const TensorSpec& spec : inputs) parsed.request.inputs.push_back(stacked(rows, spec));
    } else {
      parsed.request.inputs.push_back(tensor_of(instances, only(inputs)));
    }
  } else if (object named; !columns.get(named)) {
    for (const TensorSpec& spec : inputs) {
      element value;
      if (named[spec.name].get(value)) throw invalid("\"inputs\" has no input '" + spec.name + "'");
      parsed.request.inputs.push_back(tensor_of(value, spec));
    }
  } else {
    parsed.request.inputs.push_back(tensor_of(columns, only(inputs)));
  }
  return parsed;
}

std::string write_response(const Response& response, bool by_rows) {
  std::string text = by_rows ? "{\"predictions\":" : "{\"outputs\":";
  const auto nested = [&text](const Tensor& tensor) { write_nested(text, tensor); };
  if (!by_rows) {
    write_values(text, response.outputs, nested);
    return text + "}";
  }
  int64_t rows = -1;
  for (const auto& [name, tensor] : response.outputs) {
    const bool fits =
        !tensor.shape().empty() && tensor.type() != DataType::kBytes && (rows < 0 || tensor.shape()[0] == rows);
    if (!fits)
      throw invalid("output '" + name + "' has no rows as the others; send \"inputs\" instead of \"instances\"");
    rows = tensor.shape()[0];
  }
  text += '[';
  for (int64_t row = 0; row < rows; ++row) {
    if (row > 0) text += ',';
    write_values(text, response.outputs, [&](const Tensor& tensor) { nested(row_of(tensor, row)); });
  }
  return text + "]}";
}

std::string write_status(const std::string& model, const std::vector<IndexEntry>& entries) {
  std::string text;
  for (const IndexEntry& entry : entries) {
    if (entry.model != model || entry.version == 0) continue;
    const bool is_ready = entry.state == VersionState::kReady;
    text += text.empty() ? "{\"model_version_status\":[" : ",";
    text += "{\"version\":\"" + std::to_string(entry.version) + "\",\"state\":\"" +
            (is_ready                                    ? "AVAILABLE"
             : entry.state == VersionState::kUnavailable ? "END"
                                                         : name(entry.state)) +
            "\",\"status\":{\"error_code\":\"" + (entry.is_failed ? "UNKNOWN" : "OK") + "\",\"error_message\":";
    write_string(text, entry.is_failed ? entry.reason : "");
    text += "}}";
  }
  if (text.empty()) throw Error(ErrorKind::kNotFound, "there is no version of a model '" + model + "'");
  return text + "]}";
}

}  // namespace loopwright::serving::tf
