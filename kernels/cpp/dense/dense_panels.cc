#include "dense_panels.h"

#include "core/split.h"
#include "gemm/words.h"
#include "loopwright/machine.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

DensePanels::DensePanels(const Matrix& from, int64_t columns, int64_t sum, const LayerEpilogue& epilogue, Target of,
                         int widest, int threads)
    : n(columns), k(sum), target(std::move(of)), dtype(from.dtype), nr(widest), activation(epilogue.activation) {
  check_dtype(dtype, target);
  const int lanes = kernel_table(target, dtype).lanes;
  const int64_t padded = ceil_div(n, lanes) * lanes;
  bias = padded_copy(epilogue.bias, n, padded);
  slopes = padded_copy(epilogue.slopes, n, padded);
  pack(from, threads);
}

void DensePanels::pack(const Matrix& from, int threads) {
  const int64_t k_words = to_words(k, dtype);
  const bool in_place = target != Isa::kReference && are_words(from, k);
  Buffer copied;
  if (!in_place) {
    copied = make_buffer(n * k_words);
    for (int64_t j = 0; j < n; ++j) copy_to_words(from.address(j, 0), k, dtype, copied.get() + j * k_words);
  }
  if (target == Isa::kReference) {
    weight = std::move(copied);
    return;
  }
  const float* words = in_place ? static_cast<const float*>(from.data) : copied.get();
  const int64_t stride = in_place ? from.stride / elements_per_word(dtype) : k_words;
  const PanelRows rows{1, k_words, kernel_table(target, dtype).lanes};
  weight = make_weight_buffer(rows.packed_floats(n, nr));
  panels = split_panels(n, rows, nr);
  pack_panels(panels, words, stride, rows, weight.get(), threads);
}

void DensePanels::evict_weights(int threads) const {
  const PanelRows rows{1, to_words(k, dtype), kernel_table(target, dtype).lanes};
  evict(weight.get(), rows.packed_floats(n, nr) * kWordBytes, threads);
}

}  // namespace loopwright
