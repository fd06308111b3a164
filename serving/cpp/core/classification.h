// Triton's classification extension: the classes of the largest values of an output.
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/servable.h"

namespace loopwright::serving {

// Returns what a request's `done` becomes: it turns the outputs that are wanted as classes into them. An output whose first
// dimension is open has a row for each item. Throws Error (kInvalidArgument) if an output has no classes: strings and booleans.
// `servable` outlives the request.
Done with_classes(const Servable& servable, const Request& request, Done done);

// Returns the `count` largest values, or all if it has fewer, as strings "VALUE:INDEX[:LABEL]", largest first; equal ones by their
// index, NaN last. With `has_rows`, each item of the first dimension is a row: the shape is [rows, count]. Otherwise all values are
// one row: [count].
Tensor classes(const Tensor& output, int64_t count, bool has_rows, const std::vector<std::string>& labels);

// Reads a file with a label per line; a missing one gives none. Throws Error if it is not a file.
std::vector<std::string> read_class_labels(const std::string& path);

}  // namespace loopwright::serving
