// The table of bfloat16 on AVX512_BF16: the float32 microkernel with pairs of consecutive k as words of A and B, and sums of
// two products as FMAs. Only this file is compiled with -mavx512f -mavx512bw -mavx512vl -mavx512bf16.
//
// VDPBF16PS treats subnormal inputs as zero, flushes subnormal results to zero, and rounds to nearest regardless of MXCSR. It
// rounds after each of the two products, so a sum over k has the error of k float32 FMAs.
#include "microkernels/depthwise_f32.h"
#include "microkernels/machine_f32.h"
#include "microkernels/rows_bf16.h"
#include "microkernels/x86/tiles_avx512.h"
#include "microkernels/x86/vec_bf16_avx512.h"

namespace loopwright {

const KernelTable& bf16_avx512_kernels(bool halves) {
  static const KernelTable kernels = [halves] {
    KernelTable k = f32_avx512_kernels(halves);  // sums are float32, and so are the functions that process them
    k.clear_tiles();
    k.tile_k = VecBf16Avx512::kProducts;
    add_avx512_tiles<VecBf16Avx512>(k, halves);
    k.fma_loop = &fma_loop<VecBf16Avx512>;
    k.widen = &convert_rows<VecBf16Avx512, Bfloat16, float>;
    k.narrow = &convert_rows<VecBf16Avx512, float, Bfloat16>;
    k.narrow_pixels = &narrow_pixels<VecBf16Avx512>;
    add_narrow_depthwise<VecBf16Avx512, 14, 14>(k);
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
