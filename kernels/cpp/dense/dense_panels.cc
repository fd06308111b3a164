#include "dense_panels.h"

#include "core/split.h"
#include "gemm/words.h"
#include "loopwright/machine.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

namespace {

int64_t padded_columns(int64_t n, Isa isa, Dtype dtype) {
  check_dtype(dtype, isa);
  const int lanes = kernel_table(isa, dtype).lanes;
  return ceil_div(n, lanes) * lanes;
}

}  // namespace

DensePanels::DensePanels(const Matrix& from, int64_t columns, int64_t sum, const LayerEpilogue& epilogue, Target of,
                         int widest, int threads)
    : n(columns),
      k(sum),
      target(std::move(of)),
      dtype(from.dtype),
      nr(widest),
      constants(epilogue, from, n, k, padded_columns(n, target, dtype)) {
  pack(from, threads);
}

void DensePanels::pack(const Matrix& from, int threads) {
  const KernelTable& kernels = kernel_table(target, dtype);
  const int64_t k_words = to_words(k, kernels.tile_k);
  const bool in_place = target != Isa::kReference && are_words(from, k, kernels.tile_k);
  Buffer copied;
  if (!in_place) {
    copied = make_buffer(n * k_words);
    for (int64_t j = 0; j < n; ++j)
      copy_to_words(from.address(j, 0), k, dtype, kernels.tile_k, copied.get() + j * k_words);
  }
  if (target == Isa::kReference) {
    weight = std::move(copied);
    return;
  }
  const float* words = in_place ? static_cast<const float*>(from.data) : copied.get();
  const int64_t stride = in_place ? from.stride / kernels.tile_k : k_words;
  const PanelRows rows{1, k_words, kernels.lanes};
  weight = make_weight_buffer(rows.packed_floats(n, nr));
  panels = split_panels(n, rows, nr);
  pack_panels(panels, words, stride, rows, weight.get(), threads);
}

void DensePanels::evict_weights(int threads) const {
  const KernelTable& kernels = kernel_table(target, dtype);
  const PanelRows rows{1, to_words(k, kernels.tile_k), kernels.lanes};
  evict(weight.get(), rows.packed_floats(n, nr) * kWordBytes, threads);
}

}  // namespace loopwright
