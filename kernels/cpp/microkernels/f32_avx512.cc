// float32 on AVX-512F and VL: its table of functions. Compiled with -mavx512f -mavx512vl; nothing else may be.
#include "activations_f32.h"
#include "depthwise_f32.h"
#include "elementwise_f32.h"
#include "layer_norm_f32.h"
#include "machine_f32.h"
#include "pooling_f32.h"
#include "softmax_f32.h"
#include "tiles_avx512.h"
#include "transpose_f32.h"
#include "vec_avx512.h"
#include "winograd_f32.h"

namespace loopwright {

const F32Kernels& f32_kernels_avx512() {
  static const F32Kernels kernels = [] {
    F32Kernels k;
    k.lanes = VecAvx512::kLanes;
    k.masks_are_free = VecAvx512::kMasksAreFree;
    add_avx512_tiles<VecAvx512>(k);
    add_activations<VecAvx512>(k);
    add_winograd<VecAvx512>(k);
    add_strips<VecAvx512, 3, 1, 14>(k.depthwise.three[1]);
    add_strips<VecAvx512, 3, 2, 8>(k.depthwise.three[2]);
    add_strips<VecAvx512, 5, 1, 14>(k.depthwise.five[1]);
    add_strips<VecAvx512, 5, 2, 8>(k.depthwise.five[2]);
    k.depthwise.windows = &depthwise_windows<VecAvx512>;
    k.softmax_rows = &softmax_rows<VecAvx512>;
    k.pool = pool_functions<VecAvx512>();
    k.clamped_sum = &clamped_sum<VecAvx512>;
    k.strassen_sums = &strassen_sums<VecAvx512>;
    k.layer_norm_rows = &layer_norm_rows<VecAvx512>;
    k.transpose = &transpose<VecAvx512>;
    k.fma_loop = &fma_loop<VecAvx512>;
    k.read_sum = &read_sum<VecAvx512>;
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
