#include "gemm/layer_constants.h"

#include <numeric>

namespace loopwright {

LayerConstants::LayerConstants(const LayerEpilogue& epilogue, const Matrix& weight, int64_t n, int64_t k,
                               int64_t padded)
    : bias(padded_copy(epilogue.bias, n, padded)),
      slopes(padded_copy(epilogue.slopes, n, padded)),
      scales(padded_copy(epilogue.quantization.weight_scales, n, padded)),
      activation(epilogue.activation),
      quantization(epilogue.quantization) {
  quantization.weight_scales = scales.get();
  if (weight.dtype != Dtype::kInt8) return;
  weight_sums.resize(static_cast<size_t>(padded));
  for (int64_t j = 0; j < n; ++j) {
    const auto* row = weight.at<int8_t>(j, 0);
    weight_sums[static_cast<size_t>(j)] = std::accumulate(row, row + k, int32_t{0});
  }
}

LayerEpilogue LayerConstants::epilogue(const Quantization& x) const {
  LayerEpilogue epilogue{bias.get(), activation, slopes.get(), quantization};
  epilogue.quantization.weight_sums = weight_sums.empty() ? nullptr : weight_sums.data();
  epilogue.quantization.x = x;
  return epilogue;
}

}  // namespace loopwright
