// Elements of tensors as JSON numbers, booleans and strings.
#pragma once

#include <simdjson.h>

#include <string>

#include "loopwright/serving/tensor.h"

namespace loopwright::serving {

// Returns the elements of a value, of arrays in arrays in any form, as a tensor of that type has them. Throws Error
// (kInvalidArgument) if one does not fit the type, or if there are more or fewer than `count`. Floating-point types accept the
// strings "NaN", "Infinity" and "-Infinity", which JSON has no numbers for.
std::string read_elements(const simdjson::dom::element& value, DataType type, int64_t count);

// Appends the elements as one flat array.
void write_elements(std::string& text, const Tensor& tensor);
// Appends the elements as arrays in arrays, as the shape has them.
void write_nested(std::string& text, const Tensor& tensor);

// Appends a string with its quotes. Bytes that are not valid UTF-8 are replaced.
void write_string(std::string& text, std::string_view value);

}  // namespace loopwright::serving
