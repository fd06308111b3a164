#include "microkernels/reference/reference.h"

namespace loopwright {

void reference_depthwise_windows(const DepthwiseWindows& w, const DepthwiseLayer& layer) {
  const auto* const x = static_cast<const float*>(w.x);
  const auto* const residual = static_cast<const float*>(w.residual);
  auto* const y = static_cast<float*>(w.y);
  for (int64_t q = 0; q < w.count; ++q)
    for (int64_t channel = 0; channel < w.channels; ++channel) {
      const int64_t at = q * w.y_step + channel;
      float sum = (layer.bias ? layer.bias[channel] : 0.0f) + (residual ? residual[at] : 0.0f);
      for (int64_t i = 0; i < w.rows; ++i)
        for (int64_t j = 0; j < w.columns; ++j)
          sum += x[q * w.x_step + i * w.row_step + j * w.column_step + channel] *
                 layer.weight[i * layer.weight_row + j * layer.weight_column + channel];
      y[at] = sum < layer.lo ? layer.lo : sum > layer.hi ? layer.hi : sum;  // NaN passes through
    }
  if (layer.activate)
    layer.activate(y, w.y_step, static_cast<int>(w.count), static_cast<int>(w.channels), layer.slopes);
}

}  // namespace loopwright
