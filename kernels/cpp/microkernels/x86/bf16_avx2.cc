// The table of bfloat16 on AVX2: the microkernel of float32 with pairs of consecutive k as words of A and B. Weights take half the
// bytes of float32, and sums the same FMAs. Compiled with -mavx2 -mfma, as f32_avx2.cc.
#include "microkernels/activations_f32.h"
#include "microkernels/brgemm_f32.h"
#include "microkernels/depthwise_f32.h"
#include "microkernels/machine_f32.h"
#include "microkernels/rows_bf16.h"
#include "microkernels/x86/vec_bf16_avx2.h"

namespace loopwright {

const KernelTable& bf16_avx2_kernels() {
  static const KernelTable kernels = [] {
    KernelTable k = f32_avx2_kernels();  // sums are float32, and so are the functions that process them
    k.clear_tiles();
    k.tile_k = k.word_fmas = VecBf16Avx2::kProducts;
    add_tiles<VecBf16Avx2, 1, 12>(k);
    add_tiles<VecBf16Avx2, 2, 5>(k);
    add_tiles<VecBf16Avx2, 3, 2>(k);
    add_tiles<VecBf16Avx2, 4, 1>(k);
    k.fma_loop = &fma_loop<VecBf16Avx2>;
    k.widen = &convert_rows<VecBf16Avx2, Bfloat16, float>;
    k.narrow = &convert_rows<VecBf16Avx2, float, Bfloat16>;
    add_narrow_depthwise<VecBf16Avx2, 12, 10>(k);
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
