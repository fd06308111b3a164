// bfloat16 on AVX512_BF16: the float32 microkernel, whose words of A and B are now pairs of consecutive k, and whose
// FMA is now a sum of two products. Compiled with -mavx512f -mavx512bw -mavx512vl -mavx512bf16; nothing else may be.
//
// VDPBF16PS takes subnormal numbers for zero and makes none, and rounds to nearest whatever the MXCSR says; it rounds
// after each of the two products, so that a sum over k errs as one of k float32 FMAs does.
#include "microkernels/machine_f32.h"
#include "microkernels/rows_bf16.h"
#include "microkernels/x86/tiles_avx512.h"
#include "microkernels/x86/vec_bf16_avx512.h"

namespace loopwright {

const KernelTable& bf16_avx512_kernels() {
  static const KernelTable kernels = [] {
    KernelTable k = f32_avx512_kernels();  // sums are float32, and so is what is done with them
    add_avx512_tiles<VecBf16Avx512>(k);
    k.fma_loop = &fma_loop<VecBf16Avx512>;
    k.widen = &convert_rows<VecBf16Avx512, Bfloat16, float>;
    k.narrow = &convert_rows<VecBf16Avx512, float, Bfloat16>;
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
