// The weights and the epilogue of a dense layer, in the form in which its loops read them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "gemm/panels.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/machine_model.h"
#include "loopwright/matrix.h"

namespace loopwright {

struct DensePanels {
  int64_t n, k;
  Target target;
  Dtype dtype;
  int nr;         // the most columns of a panel
  Buffer weight;  // panels of the weights in words (gemm/words.h). kReference: (n, k)
  Activation activation;
  Buffer bias, slopes;        // n floats followed by a readable vector, or null
  std::vector<Panel> panels;  // empty for kReference

  // weight (n, k). Copies it and the epilogue, on `threads` threads of the pool. Throws std::invalid_argument if the ISA or
  // this CPU lacks the dtype.
  DensePanels(const Matrix& weight, int64_t n, int64_t k, const LayerEpilogue& epilogue, Target target, int nr,
              int threads);

  LayerEpilogue epilogue() const { return {bias.get(), activation, slopes.get()}; }

  // Evicts the weights from all caches.
  void evict_weights(int threads) const;

 private:
  void pack(const Matrix& from, int threads);
};

}  // namespace loopwright
