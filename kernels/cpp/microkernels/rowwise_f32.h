// The row-wise operators (contract: include/loopwright/rowwise.h), templated over the vector type V. One line per
// operator.
#pragma once

#include "microkernels/kernel_table.h"
#include "microkernels/layer_norm_f32.h"
#include "microkernels/rms_norm_f32.h"
#include "microkernels/softmax_f32.h"

namespace loopwright {
namespace {

template <class V>
void add_row_operators(KernelTable& kernels) {
  const auto set = [&](RowOperator op, RowFunction f) { kernels.rows[static_cast<int>(op)] = f; };
  set(RowOperator::kLayerNorm, &layer_norm_rows<V>);
  set(RowOperator::kRmsNorm, &rms_norm_rows<V>);
  set(RowOperator::kSoftmax, &softmax_rows<V>);
}

}  // namespace
}  // namespace loopwright
