// The Open Inference Protocol, version 2, as JSON with Triton's binary extension.
// https://github.com/kserve/open-inference-protocol; the extensions: "Binary tensor data extension" of Triton's protocol.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loopwright/serving/engine.h"
#include "protocol/shared_memory.h"

namespace loopwright::serving::v2 {

// The body of a request. It must have simdjson::SIMDJSON_PADDING bytes of capacity behind its end.
using Body = std::shared_ptr<const std::string>;

// What a request wants of the form of its response.
struct OutputForm {
  bool binary = false;
  std::optional<SharedRange> shared;  // where the output is written instead
};
struct Form {
  bool binary = false;              // of outputs that are not in `outputs`
  std::vector<OutputForm> outputs;  // of those that the request names
};

struct ParsedRequest {
  Request request;
  Form form;
};

// Pieces of a response, in order.
struct Pieces {
  std::string json;
  std::vector<Tensor> binary;  // behind the JSON
};

// Reads a request. `json_bytes` is the length of its JSON part, what follows is binary; 0: all is JSON. Tensors may refer to the
// body. Throws Error.
ParsedRequest parse_request(const Body& body, size_t json_bytes, const SharedMemory& memory);

// Writes the outputs, those in shared memory too. Throws Error if one does not fit there.
Pieces write_response(const Response& response, const Form& form);

std::string write_error(const std::string& message);
std::string write_server(const std::string& version, const std::vector<const char*>& extensions);
std::string write_metadata(const ModelMetadata& model);
std::string write_config(const ModelMetadata& model);
std::string write_statistics(const std::vector<ModelStatistics>& models);
std::string write_index(const std::vector<IndexEntry>& entries, bool only_ready);
std::string write_regions(const std::vector<SharedRegion>& regions);

}  // namespace loopwright::serving::v2
