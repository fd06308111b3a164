// Element-wise and row-wise operators on contiguous arrays, bound by memory. All of them are thread-safe and use up to
// `threads` threads of the pool.
#pragma once

#include <cstdint>
#include <iterator>
#include <string>

#include "loopwright/activation.h"
#include "loopwright/isa.h"

namespace loopwright {

// out = activation(a + b) for arrays of n floats; b counts as zero if null. `out` may be a or b, but must not overlap
// them otherwise. Throws std::invalid_argument for kPrelu, which needs slopes.
void add(const float* a, const float* b, Activation activation, float* out, int64_t n, Isa isa, int threads);

// Row-wise operators on v = x + residual:
//   kLayerNorm  out[i, :] = gamma * (v - mean(v)) / sqrt(variance(v) + epsilon) + beta
//               (Ba, Kiros, Hinton: Layer Normalization, 2016)
//   kRmsNorm    out[i, :] = gamma * v / sqrt(mean(v²) + epsilon)
//               (Zhang, Sennrich: Root Mean Square Layer Normalization, 2019)
//   kSoftmax    out[i, :] = e^v / sum(e^v), without overflow
enum class RowOperator { kLayerNorm, kRmsNorm, kSoftmax };

// Rows of n floats without gaps. Arrays that the operator does not use are null. `out` may be x or residual, but must not
// overlap an array otherwise.
struct RowArgs {
  const float* x;
  const float* residual;  // like x; counts as zero if null
  const float* gamma;     // n floats
  const float* beta;      // n floats
  float* out;
  int64_t rows, n;
  float epsilon;
};

struct RowOperatorDef {
  const char* name;
  RowOperator op;
  // Which inputs it has in addition to x. The residual is optional, the others are required.
  bool residual, gamma, beta, epsilon;
};

// One line per operator, in the order of the enum.
constexpr RowOperatorDef kRowOperators[] = {
    {"layer_norm", RowOperator::kLayerNorm, true, true, true, true},
    {"rms_norm", RowOperator::kRmsNorm, false, true, false, true},
    {"softmax", RowOperator::kSoftmax, false, false, false, false},
};
constexpr int kRowOperatorCount = static_cast<int>(std::size(kRowOperators));

// Throws std::invalid_argument for an unknown name.
const RowOperatorDef& find_row_operator(const std::string& name);

void run_rows(RowOperator op, const RowArgs& args, Isa isa, int threads);

}  // namespace loopwright
