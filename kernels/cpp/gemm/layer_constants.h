// The constants of a layer, in the form in which its loops read them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/matrix.h"

namespace loopwright {

struct LayerConstants {
  Buffer bias, slopes, scales;       // each of a float per output channel, then zeros; or null
  std::vector<int32_t> weight_sums;  // the same for the weights of an int8 layer, else empty
  Activation activation = Activation::kNone;
  LayerQuantization quantization;

  LayerConstants() = default;
  // Copies the arrays of n channels, each with zeros up to `padded` floats. weight (n, k).
  LayerConstants(const LayerEpilogue& epilogue, const Matrix& weight, int64_t n, int64_t k, int64_t padded);

  // Returns the epilogue of a run whose input is quantized like this. Its arrays belong to this object.
  LayerEpilogue epilogue(const Quantization& x) const;
};

}  // namespace loopwright
