// Requests and responses as messages of gRPC.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "inference.pb.h"
#include "loopwright/serving/engine.h"
#include "protocol/shared_memory.h"

namespace loopwright::serving::rpc {

// Where the outputs are written that a request names; nothing: to the response.
using OutputRanges = std::vector<std::optional<SharedRange>>;

struct ParsedRequest {
  Request request;
  OutputRanges ranges;
};

// Reads a request. Raw tensors refer to the message, which `owner` keeps alive. Throws Error.
ParsedRequest read_request(const inference::ModelInferRequest& message, const std::shared_ptr<const void>& owner,
                           const SharedMemory& memory);

// Writes the outputs, those in shared memory too. Throws Error if one does not fit there.
void write_response(const Response& response, const OutputRanges& ranges, inference::ModelInferResponse& message);
void write_regions(const std::vector<SharedRegion>& regions, inference::SystemSharedMemoryStatusResponse& message);
void write_index(const std::vector<IndexEntry>& index, bool only_ready, inference::RepositoryIndexResponse& message);
void write_metadata(const ModelMetadata& model, inference::ModelMetadataResponse& message);
void write_config(const ModelMetadata& model, inference::ModelConfig& message);
void write_statistics(const ModelStatistics& statistics, inference::ModelStatistics& message);

}  // namespace loopwright::serving::rpc
