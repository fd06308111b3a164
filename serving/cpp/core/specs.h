// The tensors that a model takes and returns: lookup by name, and the check of a request's inputs.
#pragma once

#include <string>
#include <vector>

#include "loopwright/serving/request.h"
#include "loopwright/serving/tensor.h"

namespace loopwright::serving {

// Returns null if there is no such tensor.
const TensorSpec* find_spec(const std::vector<TensorSpec>& specs, const std::string& name);
// Returns "a, b".
std::string names_of(const std::vector<TensorSpec>& specs);

// Returns the index of a tensor. Throws Error (kInvalidArgument) with the possible names: "OWNER has no WHAT 'x'; choose from: ...".
size_t place_of(const std::vector<TensorSpec>& specs, const std::string& name, const char* owner, const char* what);

// Returns the indices of the outputs that a request wants, in its order; all of them if it names none. Throws Error (kInvalidArgument)
// if one is unknown, or the request names more than it can need.
std::vector<size_t> ordered_outputs(const Request& request, const std::vector<TensorSpec>& specs, const char* owner);

// Returns the inputs of a request in the order of the specifications. Throws Error (kInvalidArgument) if one is missing, unknown, given
// twice, or of another type or shape. `owner` is in the messages, such as "the model".
std::vector<Tensor> ordered_inputs(const Request& request, const std::vector<TensorSpec>& specs, const char* owner);

}  // namespace loopwright::serving
