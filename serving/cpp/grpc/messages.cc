#include "grpc/messages.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace loopwright::serving::rpc {
namespace {

using inference::InferTensorContents;

// Converts typed numbers to the elements of T.
template <class T, class Field>
std::string numbers(const Field& field) {
  std::string bytes(static_cast<size_t>(field.size()) * sizeof(T), '\0');
  char* place = bytes.data();
  for (const auto value : field) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
      if (value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max())
        throw invalid("an element does not fit its type");
    const auto number = static_cast<T>(value);
    std::memcpy(place, &number, sizeof(T));
    place += sizeof(T);
  }
  return bytes;
}

std::string strings(const InferTensorContents& contents) {
  std::string bytes;
  for (const std::string& text : contents.bytes_contents()) {
    const auto length = static_cast<uint32_t>(text.size());
    bytes.append(reinterpret_cast<const char*>(&length), sizeof(length));
    bytes += text;
  }
  return bytes;
}

int elements(const InferTensorContents& contents) {
  return contents.bool_contents_size() + contents.int_contents_size() + contents.int64_contents_size() +
         contents.uint_contents_size() + contents.uint64_contents_size() + contents.fp32_contents_size() +
         contents.fp64_contents_size() + contents.bytes_contents_size();
}

// Returns the elements of typed contents. Throws if they are in the field of another type, or for types without a field.
std::string bytes_of(const InferTensorContents& contents, DataType type) {
  switch (type) {
    case DataType::kBool: return numbers<bool>(contents.bool_contents());
    case DataType::kUint8: return numbers<uint8_t>(contents.uint_contents());
    case DataType::kUint16: return numbers<uint16_t>(contents.uint_contents());
    case DataType::kUint32: return numbers<uint32_t>(contents.uint_contents());
    case DataType::kUint64: return numbers<uint64_t>(contents.uint64_contents());
    case DataType::kInt8: return numbers<int8_t>(contents.int_contents());
    case DataType::kInt16: return numbers<int16_t>(contents.int_contents());
    case DataType::kInt32: return numbers<int32_t>(contents.int_contents());
    case DataType::kInt64: return numbers<int64_t>(contents.int64_contents());
    case DataType::kFp32: return numbers<float>(contents.fp32_contents());
    case DataType::kFp64: return numbers<double>(contents.fp64_contents());
    case DataType::kBytes: return strings(contents);
    case DataType::kFp16:
    case DataType::kBf16: break;
  }
  throw invalid(std::string(name(type)) + " has no typed contents; use raw_input_contents");
}

template <class Parameters>
const inference::InferParameter* find(const Parameters& parameters, const char* key) {
  const auto found = parameters.find(key);
  return found == parameters.end() ? nullptr : &found->second;
}

template <class Parameters>
std::optional<uint64_t> byte_number(const Parameters& parameters, const char* key) {
  const auto* found = find(parameters, key);
  if (!found) return std::nullopt;
  if (found->has_uint64_param()) return found->uint64_param();
  if (!found->has_int64_param() || found->int64_param() < 0)
    throw invalid(std::string("\"") + key + "\" must be a number of bytes from 0 up");
  return static_cast<uint64_t>(found->int64_param());
}

// Returns the range of shared memory that the parameters of a tensor name, or nothing.
template <class Parameters>
std::optional<SharedRange> shared_range(const Parameters& parameters, const SharedMemory& memory) {
  const auto* region = find(parameters, kSharedRegion);
  if (region && !region->has_string_param()) throw invalid(std::string("\"") + kSharedRegion + "\" must be a string");
  return memory.range(region ? std::optional(region->string_param()) : std::nullopt,
                      byte_number(parameters, kSharedOffset), byte_number(parameters, kSharedBytes));
}

// Returns how many classes of an output are wanted; 0: the tensor.
template <class Parameters>
int64_t class_count(const Parameters& parameters) {
  const auto* found = find(parameters, "classification");
  if (!found) return 0;
  if (!found->has_int64_param() || found->int64_param() < 1)
    throw invalid("\"classification\" must be a number from 1 up");
  return found->int64_param();
}

// Returns a parameter that is a whole number, or nothing.
template <class Parameters>
std::optional<int64_t> whole_number(const Parameters& parameters, const char* key) {
  const auto* found = find(parameters, key);
  if (!found) return std::nullopt;
  if (found->has_uint64_param()) return static_cast<int64_t>(std::min<uint64_t>(found->uint64_param(), INT64_MAX));
  if (!found->has_int64_param()) throw invalid(std::string("\"") + key + "\" must be a number");
  return found->int64_param();
}

void read_parameters(const inference::ModelInferRequest& message, Request& request) {
  const auto& parameters = message.parameters();
  // Models here have no state, so a sequence changes nothing. Triton, too, takes these for a model without sequences.
  const auto* id = find(parameters, "sequence_id");
  if (id && !id->has_uint64_param() && !id->has_string_param() && !(id->has_int64_param() && id->int64_param() >= 0))
    throw invalid("\"sequence_id\" must be a number from 0 up or a string");
  for (const char* key : {"sequence_start", "sequence_end"})
    if (const auto* found = find(parameters, key); found && !found->has_bool_param())
      throw invalid(std::string("\"") + key + "\" must be a boolean");
  if (const auto micros = whole_number(parameters, "timeout"); micros && *micros > 0)
    request.deadline = Clock::now() + std::chrono::microseconds(std::min<int64_t>(*micros, 86'400'000'000));
  if (const auto priority = whole_number(parameters, "priority"); priority && *priority > 0)  // 0: none
    request.priority = static_cast<int>(std::min<int64_t>(*priority, kLastPriority));
}

}  // namespace

ParsedRequest read_request(const inference::ModelInferRequest& message, const std::shared_ptr<const void>& owner,
                           const SharedMemory& memory) {
  ParsedRequest parsed;
  Request& request = parsed.request;
  request.model = message.model_name();
  request.version = message.model_version();
  request.id = message.id();
  read_parameters(message, request);
  // Inputs in shared memory have no raw contents.
  const auto is_shared = [](const auto& input) { return find(input.parameters(), kSharedRegion) != nullptr; };
  const auto shared = std::count_if(message.inputs().begin(), message.inputs().end(), is_shared);
  const int raw = message.raw_input_contents_size(), inputs = message.inputs_size() - static_cast<int>(shared);
  if (raw > 0 && raw != inputs)
    throw invalid("the request has " + std::to_string(raw) + " raw_input_contents for " + std::to_string(inputs) +
                  " inputs; all inputs are raw, or none");
  int next_raw = 0;
  for (const auto& input : message.inputs()) {
    try {
      const DataType type = parse_data_type(input.datatype());
      std::vector<int64_t> shape(input.shape().begin(), input.shape().end());
      if (const auto range = shared_range(input.parameters(), memory)) {
        if (input.has_contents()) throw invalid("it has data both in the request and in shared memory");
        request.inputs.push_back({input.name(), range->read(type, std::move(shape))});
      } else if (raw > 0) {
        if (input.has_contents()) throw invalid("it has both contents and raw_input_contents");
        const std::string& bytes = message.raw_input_contents(next_raw++);
        check_bytes(type, shape, bytes);
        request.inputs.push_back({input.name(), Tensor(type, std::move(shape), owner, bytes.data(), bytes.size())});
      } else {
        const int64_t count = element_count(shape);
        std::string bytes = count == 0 ? "" : bytes_of(input.contents(), type);
        check_bytes(type, shape, bytes);
        if (elements(input.contents()) != count) throw invalid("it has contents of another type, too");
        request.inputs.push_back({input.name(), Tensor::of(type, std::move(shape), std::move(bytes))});
      }
    } catch (const Error& error) {
      throw Error(error.kind(), "input '" + input.name() + "': " + error.what());
    }
  }
  for (const auto& output : message.outputs()) {
    const int64_t classes = class_count(output.parameters());
    request.outputs.push_back({output.name(), classes});
    parsed.ranges.push_back(shared_range(output.parameters(), memory));
    if (classes > 0 && parsed.ranges.back())
      throw invalid("output '" + output.name() + "': classes are not written to shared memory");
  }
  return parsed;
}

void write_response(const Response& response, const OutputRanges& ranges, inference::ModelInferResponse& message) {
  message.set_model_name(response.model);
  message.set_model_version(std::to_string(response.version));
  message.set_id(response.id);
  for (size_t i = 0; i < response.outputs.size(); ++i) {
    const auto& [output, tensor] = response.outputs[i];
    auto* made = message.add_outputs();
    made->set_name(output);
    made->set_datatype(name(tensor.type()));
    for (const int64_t size : tensor.shape()) made->add_shape(size);
    std::string* contents = message.add_raw_output_contents();  // one per output, so that clients find those of others
    if (i >= ranges.size() || !ranges[i]) {
      contents->assign(tensor.view());
      continue;
    }
    ranges[i]->write(output, tensor.view());
    auto& parameters = *made->mutable_parameters();
    parameters[kSharedRegion].set_string_param(ranges[i]->region());
    parameters[kSharedOffset].set_int64_param(static_cast<int64_t>(ranges[i]->offset()));
    parameters[kSharedBytes].set_int64_param(static_cast<int64_t>(tensor.bytes()));
  }
  // Protobuf cannot write more, and gRPC ends the process if it cannot.
  if (message.ByteSizeLong() > std::numeric_limits<int>::max())
    throw invalid("the response has more than 2 GiB; use HTTP or shared memory");
}

void write_regions(const std::vector<SharedRegion>& regions, inference::SystemSharedMemoryStatusResponse& message) {
  for (const SharedRegion& region : regions) {
    auto& made = (*message.mutable_regions())[region.name];
    made.set_name(region.name);
    made.set_key(region.key);
    made.set_offset(region.offset);
    made.set_byte_size(region.byte_size);
  }
}

void write_index(const std::vector<IndexEntry>& index, bool only_ready, inference::RepositoryIndexResponse& message) {
  for (const IndexEntry& entry : index) {
    if (only_ready && entry.state != VersionState::kReady) continue;
    auto* made = message.add_models();
    made->set_name(entry.model);
    made->set_version(std::to_string(entry.version));
    made->set_state(name(entry.state));
    made->set_reason(entry.reason);
  }
}

void write_metadata(const ModelMetadata& model, inference::ModelMetadataResponse& message) {
  message.set_name(model.name);
  for (const int64_t version : model.versions) message.add_versions(std::to_string(version));
  message.set_platform(model.platform);
  const auto add = [](const TensorSpec& spec, auto* made) {
    made->set_name(spec.name);
    made->set_datatype(name(spec.type));
    for (const int64_t size : spec.shape) made->add_shape(size);
  };
  for (const TensorSpec& spec : model.inputs) add(spec, message.add_inputs());
  for (const TensorSpec& spec : model.outputs) add(spec, message.add_outputs());
}

void write_config(const ModelMetadata& model, inference::ModelConfig& message) {
  message.set_name(model.name);
  message.set_platform(model.platform);
  const auto add = [](const TensorSpec& spec, auto* made) {
    inference::DataType type = inference::TYPE_STRING;
    if (spec.type != DataType::kBytes) inference::DataType_Parse(std::string("TYPE_") + name(spec.type), &type);
    made->set_name(spec.name);
    made->set_data_type(type);
    for (const int64_t size : spec.shape) made->add_dims(size);
  };
  for (const TensorSpec& spec : model.inputs) add(spec, message.add_input());
  for (const TensorSpec& spec : model.outputs) add(spec, message.add_output());
}

void write_statistics(const ModelStatistics& statistics, inference::ModelStatistics& message) {
  message.set_name(statistics.name);
  message.set_version(std::to_string(statistics.version));
  message.set_last_inference(static_cast<uint64_t>(statistics.last_inference_millis));
  message.set_inference_count(statistics.items);
  message.set_execution_count(statistics.executions);
  auto& times = *message.mutable_inference_stats();
  const auto set = [](const Totals& totals, inference::StatisticDuration& duration) {
    duration.set_count(totals.count);
    duration.set_ns(totals.nanos);
  };
  set(statistics.success, *times.mutable_success());
  set(statistics.fail, *times.mutable_fail());
  set(statistics.queue, *times.mutable_queue());
  set({}, *times.mutable_compute_input());
  set(statistics.compute, *times.mutable_compute_infer());
  set({}, *times.mutable_compute_output());
}

}  // namespace loopwright::serving::rpc
