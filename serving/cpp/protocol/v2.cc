#include "protocol/v2.h"

#include <simdjson.h>

#include <algorithm>

#include "protocol/json_values.h"

namespace loopwright::serving::v2 {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

// Deeper than any tensor; the parser's memory and our recursion are bounded by it.
constexpr size_t kMostDepth = 64;
constexpr size_t kLargestBody = size_t{1} << 32;  // of simdjson

// Returns a member, or nothing.
template <class T>
std::optional<T> member(const object& from, const char* key, const char* form) {
  element found;
  if (from[key].get(found) || found.is_null()) return std::nullopt;
  T value;
  if (found.get(value)) throw invalid(std::string("\"") + key + "\" must be " + form);
  return value;
}

template <class T>
T required(const object& from, const char* key, const char* form) {
  const auto value = member<T>(from, key, form);
  if (!value) throw invalid(std::string("\"") + key + "\" is missing");
  return *value;
}

std::vector<int64_t> shape_of(const object& tensor) {
  std::vector<int64_t> shape;
  for (const element& size : required<array>(tensor, "shape", "an array of numbers")) {
    int64_t number;
    if (size.get(number) || number < 0) throw invalid("\"shape\" must be an array of numbers from 0 up");
    if (shape.size() == kMostDepth)
      throw invalid("\"shape\" has more than " + std::to_string(kMostDepth) + " dimensions");
    shape.push_back(number);
  }
  return shape;
}

// Returns the range of shared memory that the parameters of a tensor name, or nothing.
std::optional<SharedRange> shared_range(const object& parameters, const SharedMemory& memory) {
  constexpr const char* kBytes = "a number of bytes from 0 up";
  const auto region = member<std::string_view>(parameters, kSharedRegion, "a string");
  return memory.range(region ? std::optional<std::string>(*region) : std::nullopt,
                      member<uint64_t>(parameters, kSharedOffset, kBytes),
                      member<uint64_t>(parameters, kSharedBytes, kBytes));
}

// Reads an input, and takes its binary data from the front of `binary`.
NamedTensor read_input(const object& input, const Body& body, std::string_view& binary, const SharedMemory& memory) {
  const auto name = std::string(required<std::string_view>(input, "name", "a string"));
  try {
    const DataType type = parse_data_type(required<std::string_view>(input, "datatype", "a string"));
    std::vector<int64_t> shape = shape_of(input);
    std::optional<uint64_t> bytes;
    std::optional<SharedRange> shared;
    if (const auto parameters = member<object>(input, "parameters", "an object")) {
      bytes = member<uint64_t>(*parameters, "binary_data_size", "a number");
      shared = shared_range(*parameters, memory);
    }
    element data;
    const bool has_data = !input["data"].get(data);
    if (shared) {
      if (has_data || bytes) throw invalid("it has data both in the request and in shared memory");
      return {name, shared->read(type, std::move(shape))};
    }
    if (bytes) {
      if (has_data) throw invalid("it has both \"data\" and \"binary_data_size\"");
      if (*bytes > binary.size()) throw invalid("the request has fewer binary bytes than \"binary_data_size\"");
      const std::string_view own = binary.substr(0, *bytes);
      check_bytes(type, shape, own);
      binary.remove_prefix(*bytes);
      return {name, Tensor(type, std::move(shape), body, own.data(), own.size())};
    }
    if (!has_data) throw invalid("\"data\" is missing");
    if (data.type() != simdjson::dom::element_type::ARRAY) throw invalid("\"data\" must be an array");
    const int64_t count = element_count(shape);
    return {name, Tensor::of(type, std::move(shape), read_elements(data, type, count))};
  } catch (const Error& error) {
    throw Error(error.kind(), "input '" + name + "': " + error.what());
  }
}

void read_parameters(const object& parameters, ParsedRequest& parsed) {
  parsed.form.binary = member<bool>(parameters, "binary_data_output", "a boolean").value_or(false);
  if (const auto micros = member<int64_t>(parameters, "timeout", "a number of microseconds"); micros && *micros > 0)
    parsed.request.deadline = Clock::now() + std::chrono::microseconds(std::min<int64_t>(*micros, 86'400'000'000));
  if (const auto priority = member<int64_t>(parameters, "priority", "a number"))  // 0: none
    if (*priority > 0) parsed.request.priority = static_cast<int>(std::min<int64_t>(*priority, kLastPriority));
  // Models here have no state, so a sequence changes nothing. Triton, too, takes these for a model without sequences.
  element id;
  if (!parameters["sequence_id"].get(id) && !id.is_uint64() && !id.is_string())
    throw invalid("\"sequence_id\" must be a number from 0 up or a string");
  for (const char* key : {"sequence_start", "sequence_end"}) member<bool>(parameters, key, "a boolean");
}

void write_shape(std::string& text, const std::vector<int64_t>& shape) {
  text += '[';
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? "," : "") + std::to_string(shape[i]);
  text += ']';
}

void write_specs(std::string& text, const std::vector<TensorSpec>& specs) {
  text += '[';
  for (size_t i = 0; i < specs.size(); ++i) {
    text += i > 0 ? ",{\"name\":" : "{\"name\":";
    write_string(text, specs[i].name);
    text += std::string(",\"datatype\":\"") + name(specs[i].type) + "\",\"shape\":";
    write_shape(text, specs[i].shape);
    text += '}';
  }
  text += ']';
}

void write_config_specs(std::string& text, const std::vector<TensorSpec>& specs) {
  text += '[';
  for (size_t i = 0; i < specs.size(); ++i) {
    text += i > 0 ? ",{\"name\":" : "{\"name\":";
    write_string(text, specs[i].name);
    const char* type = specs[i].type == DataType::kBytes ? "STRING" : name(specs[i].type);
    text += std::string(",\"data_type\":\"TYPE_") + type + "\",\"dims\":";
    write_shape(text, specs[i].shape);
    text += '}';
  }
  text += ']';
}

void write_totals(std::string& text, const char* key, const Totals& totals) {
  text += std::string("\"") + key + "\":{\"count\":" + std::to_string(totals.count) +
          ",\"ns\":" + std::to_string(totals.nanos) + "}";
}

}  // namespace

ParsedRequest parse_request(const Body& body, size_t json_bytes, const SharedMemory& memory) {
  const std::string_view all(*body);
  if (json_bytes > all.size()) throw invalid("Inference-Header-Content-Length is above the length of the body");
  if (json_bytes == 0) json_bytes = all.size();
  thread_local simdjson::dom::parser parser(kLargestBody);
  if (parser.max_depth() != kMostDepth || parser.capacity() < json_bytes)
    if (parser.allocate(std::max<size_t>(json_bytes, 4096), kMostDepth))
      throw invalid("the request is too large for JSON");
  element root;
  if (const auto error = parser.parse(all.data(), json_bytes, false).get(root))
    throw invalid(std::string("the request is not valid JSON: ") + simdjson::error_message(error));
  object request;
  if (root.get(request)) throw invalid("the request must be a JSON object");

  ParsedRequest parsed;
  parsed.request.id = std::string(member<std::string_view>(request, "id", "a string").value_or(""));
  if (const auto parameters = member<object>(request, "parameters", "an object")) read_parameters(*parameters, parsed);
  std::string_view binary = all.substr(json_bytes);
  for (const element& value : required<array>(request, "inputs", "an array")) {
    object input;
    if (value.get(input)) throw invalid("\"inputs\" must be an array of objects");
    parsed.request.inputs.push_back(read_input(input, body, binary, memory));
  }
  if (!binary.empty())
    throw invalid("the request has " + std::to_string(binary.size()) + " binary bytes that no input takes");
  if (const auto outputs = member<array>(request, "outputs", "an array"))
    for (const element& value : *outputs) {
      object output;
      if (value.get(output)) throw invalid("\"outputs\" must be an array of objects");
      auto name = std::string(required<std::string_view>(output, "name", "a string"));
      OutputForm form{parsed.form.binary, std::nullopt};
      uint64_t classes = 0;
      if (const auto parameters = member<object>(output, "parameters", "an object")) {
        classes = member<uint64_t>(*parameters, "classification", "a number from 0 up").value_or(0);  // 0: the tensor
        form.binary = member<bool>(*parameters, "binary_data", "a boolean").value_or(form.binary);
        form.shared = shared_range(*parameters, memory);
        if (classes > 0 && form.shared)
          throw invalid("output '" + name + "': classes are not written to shared memory");
      }
      parsed.request.outputs.push_back({std::move(name), static_cast<int64_t>(std::min<uint64_t>(classes, INT64_MAX))});
      parsed.form.outputs.push_back(std::move(form));
    }
  return parsed;
}

Pieces write_response(const Response& response, const Form& form) {
  Pieces pieces;
  std::string& text = pieces.json;
  size_t bytes = 256;
  for (const NamedTensor& output : response.outputs) bytes += 64 + output.name.size();
  text.reserve(bytes);
  text += "{\"model_name\":";
  write_string(text, response.model);
  text += ",\"model_version\":\"" + std::to_string(response.version) + '"';
  if (!response.id.empty()) {
    text += ",\"id\":";
    write_string(text, response.id);
  }
  text += ",\"outputs\":[";
  const OutputForm others{form.binary, std::nullopt};
  for (size_t i = 0; i < response.outputs.size(); ++i) {
    const auto& [output, tensor] = response.outputs[i];
    const OutputForm& wanted = i < form.outputs.size() ? form.outputs[i] : others;
    text += i > 0 ? ",{\"name\":" : "{\"name\":";
    write_string(text, output);
    text += std::string(",\"datatype\":\"") + name(tensor.type()) + "\",\"shape\":";
    write_shape(text, tensor.shape());
    if (wanted.shared) {
      wanted.shared->write(output, tensor.view());
      text += std::string(",\"parameters\":{\"") + kSharedRegion + "\":";
      write_string(text, wanted.shared->region());
      text += std::string(",\"") + kSharedOffset + "\":" + std::to_string(wanted.shared->offset()) + ",\"" +
              kSharedBytes + "\":" + std::to_string(tensor.bytes()) + "}}";
    } else if (wanted.binary) {
      text += ",\"parameters\":{\"binary_data_size\":" + std::to_string(tensor.bytes()) + "}}";
      pieces.binary.push_back(tensor);
    } else {
      text += ",\"data\":";
      write_elements(text, tensor);
      text += '}';
    }
  }
  text += "]}";
  return pieces;
}

std::string write_error(const std::string& message) {
  std::string text = "{\"error\":";
  write_string(text, message);
  return text + "}";
}

std::string write_server(const std::string& version, const std::vector<const char*>& extensions) {
  std::string text = "{\"name\":\"loopwright\",\"version\":";
  write_string(text, version);
  text += ",\"extensions\":[";
  for (size_t i = 0; i < extensions.size(); ++i) text += std::string(i > 0 ? ",\"" : "\"") + extensions[i] + '"';
  return text + "]}";
}

std::string write_metadata(const ModelMetadata& model) {
  std::string text = "{\"name\":";
  write_string(text, model.name);
  text += ",\"versions\":[";
  for (size_t i = 0; i < model.versions.size(); ++i)
    text += (i > 0 ? ",\"" : "\"") + std::to_string(model.versions[i]) + '"';
  text += "],\"platform\":\"" + model.platform + "\",\"inputs\":";
  write_specs(text, model.inputs);
  text += ",\"outputs\":";
  write_specs(text, model.outputs);
  return text + "}";
}

std::string write_config(const ModelMetadata& model) {
  std::string text = "{\"name\":";
  write_string(text, model.name);
  text += ",\"platform\":\"" + model.platform + "\",\"max_batch_size\":0,\"input\":";
  write_config_specs(text, model.inputs);
  text += ",\"output\":";
  write_config_specs(text, model.outputs);
  text += ",\"instance_group\":[{\"count\":" + std::to_string(model.instances) + ",\"kind\":\"KIND_CPU\"}]";
  text += ",\"parameters\":{\"threads\":{\"string_value\":\"" + std::to_string(model.threads) +
          "\"},\"max_queue\":{\"string_value\":\"" + std::to_string(model.max_queue) + "\"}}";
  return text + "}";
}

std::string write_statistics(const std::vector<ModelStatistics>& models) {
  std::string text = "{\"model_stats\":[";
  for (size_t i = 0; i < models.size(); ++i) {
    const ModelStatistics& model = models[i];
    text += i > 0 ? ",{\"name\":" : "{\"name\":";
    write_string(text, model.name);
    text += ",\"version\":\"" + std::to_string(model.version) +
            "\",\"last_inference\":" + std::to_string(model.last_inference_millis) +
            ",\"inference_count\":" + std::to_string(model.items) +
            ",\"execution_count\":" + std::to_string(model.executions) + ",\"inference_stats\":{";
    write_totals(text, "success", model.success);
    text += ',';
    write_totals(text, "fail", model.fail);
    text += ',';
    write_totals(text, "queue", model.queue);
    text += ',';
    write_totals(text, "compute_input", {});
    text += ',';
    write_totals(text, "compute_infer", model.compute);
    text += ',';
    write_totals(text, "compute_output", {});
    text += "},\"batch_stats\":[]}";
  }
  return text + "]}";
}

std::string write_index(const std::vector<IndexEntry>& entries, bool only_ready) {
  std::string text = "[";
  for (const IndexEntry& entry : entries) {
    if (only_ready && entry.state != VersionState::kReady) continue;
    text += text.size() > 1 ? ",{\"name\":" : "{\"name\":";
    write_string(text, entry.model);
    text +=
        ",\"version\":\"" + std::to_string(entry.version) + "\",\"state\":\"" + name(entry.state) + "\",\"reason\":";
    write_string(text, entry.reason);
    text += '}';
  }
  return text + "]";
}

std::string write_regions(const std::vector<SharedRegion>& regions) {
  std::string text = "[";
  for (const SharedRegion& region : regions) {
    text += text.size() > 1 ? ",{\"name\":" : "{\"name\":";
    write_string(text, region.name);
    text += ",\"key\":";
    write_string(text, region.key);
    text += ",\"offset\":" + std::to_string(region.offset) + ",\"byte_size\":" + std::to_string(region.byte_size) + "}";
  }
  return text + "]";
}

}  // namespace loopwright::serving::v2
