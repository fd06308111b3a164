// The predict form of TensorFlow Serving's REST interface. https://www.tensorflow.org/tfx/serving/api_rest
#pragma once

#include <string>

#include "loopwright/serving/engine.h"
#include "protocol/v2.h"

namespace loopwright::serving::tf {

struct ParsedRequest {
  Request request;
  bool by_rows = true;  // "instances" and "predictions"; else "inputs" and "outputs"
};

// Reads a request for a model of these inputs, whose shapes are those of the nested arrays. Throws Error (kInvalidArgument).
ParsedRequest parse_request(const v2::Body& body, const std::vector<TensorSpec>& inputs);

// Throws Error (kInvalidArgument) if the outputs have no common first dimension for rows.
std::string write_response(const Response& response, bool by_rows);

// The states of a model's versions. Throws Error (kNotFound) if it has none.
std::string write_status(const std::string& model, const std::vector<IndexEntry>& entries);

}  // namespace loopwright::serving::tf
