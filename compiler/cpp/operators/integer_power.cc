// Pow of integers.
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <cstdint>

#include "../tensors.h"

namespace loopwright {
namespace {

// Returns base^exponent modulo 2^64, by repeated squaring. Of negative exponents, the result is rounded toward zero.
int64_t power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  uint64_t result = 1;
  for (uint64_t square = static_cast<uint64_t>(base); exponent > 0; exponent /= 2, square *= square)
    if (exponent % 2 == 1) result *= square;
  return static_cast<int64_t>(result);
}

// Writes base[i]^exponent[i]; all are int64 and of one size.
void integer_power(DLTensor* base, DLTensor* exponent, DLTensor* out) {
  require(is_int64(out) && alike(base, out) && alike(exponent, out), "integer_power: types and sizes");
  const int64_t count = size(out);
  for (int64_t i = 0; i < count; ++i) data<int64_t>(out)[i] = power(data<int64_t>(base)[i], data<int64_t>(exponent)[i]);
}

TVM_FFI_STATIC_INIT_BLOCK() { tvm::ffi::reflection::GlobalDef().def("loopwright.integer_power", &integer_power); }

}  // namespace
}  // namespace loopwright
