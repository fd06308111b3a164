#include "loopwright/dtype.h"

#include <stdexcept>

namespace loopwright {
namespace {

constexpr Dtype kDtypes[] = {Dtype::kFloat32, Dtype::kBfloat16, Dtype::kInt8};  // of layers

// Returns why check_dtype() rejects the dtype, or null.
const char* objection(Dtype dtype, Isa isa) {
  if (dtype == Dtype::kUint8) return "weights are float32, bfloat16 or int8";
  return dtype == Dtype::kBfloat16 && isa == Isa::kReference ? "bfloat16 needs isa avx2 or avx512" : nullptr;
}

}  // namespace

const char* name(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat32: return "float32";
    case Dtype::kBfloat16: return "bfloat16";
    case Dtype::kInt8: return "int8";
    case Dtype::kUint8: return "uint8";
  }
  return "unknown";
}

Dtype parse_dtype(const std::string& text) {
  std::string known;
  for (const Dtype dtype : kDtypes) {
    if (text == name(dtype)) return dtype;
    known += (known.empty() ? "" : ", ") + std::string(name(dtype));
  }
  throw std::invalid_argument("unknown dtype '" + text + "'; choose from: " + known);
}

Dtype parse_integers(const std::string& text) {
  for (const Dtype dtype : {Dtype::kInt8, Dtype::kUint8})
    if (text == name(dtype)) return dtype;
  throw std::invalid_argument("integers must be int8 or uint8, got " + text);
}

void check_dtype(Dtype dtype, Isa isa) {
  if (const char* reason = objection(dtype, isa)) throw std::invalid_argument(reason);
}

std::vector<Dtype> available_dtypes(Isa isa) {
  std::vector<Dtype> found;
  for (const Dtype dtype : kDtypes)
    if (!objection(dtype, isa)) found.push_back(dtype);
  return found;
}

}  // namespace loopwright
