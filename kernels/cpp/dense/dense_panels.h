// The weights and the epilogue of a dense layer, in the form in which its loops read them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "gemm/layer_constants.h"
#include "gemm/panels.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/machine_model.h"
#include "loopwright/matrix.h"

namespace loopwright {

struct DensePanels {
  int64_t n, k;
  Target target;
  Dtype dtype;
  int nr;                     // the most columns of a panel
  Buffer weight;              // panels of the weights in words (gemm/words.h). kReference: (n, k)
  LayerConstants constants;   // with a readable vector after n floats
  std::vector<Panel> panels;  // empty for kReference

  // weight (n, k). Copies it and the epilogue, on `threads` threads of the pool. Throws std::invalid_argument if the ISA
  // lacks the dtype.
  DensePanels(const Matrix& weight, int64_t n, int64_t k, const LayerEpilogue& epilogue, Target target, int nr,
              int threads);

  // Evicts the weights from all caches.
  void evict_weights(int threads) const;

 private:
  void pack(const Matrix& from, int threads);
};

}  // namespace loopwright
