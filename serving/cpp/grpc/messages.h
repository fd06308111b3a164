// Requests and responses as messages of gRPC.
#pragma once

#include <memory>

#include "inference.pb.h"
#include "loopwright/serving/engine.h"

namespace loopwright::serving::rpc {

// Reads a request. Raw tensors refer to the message, which `owner` keeps alive. Throws Error (kInvalidArgument).
Request read_request(const inference::ModelInferRequest& message, const std::shared_ptr<const void>& owner);

void write_response(const Response& response, inference::ModelInferResponse& message);
void write_metadata(const ModelMetadata& model, inference::ModelMetadataResponse& message);
void write_config(const ModelMetadata& model, inference::ModelConfig& message);
void write_statistics(const ModelStatistics& statistics, inference::ModelStatistics& message);

}  // namespace loopwright::serving::rpc
