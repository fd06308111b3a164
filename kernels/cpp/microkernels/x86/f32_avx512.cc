// The table of float32 on AVX-512F and VL. Only this file is compiled with -mavx512f -mavx512vl.
#include "microkernels/activations_f32.h"
#include "microkernels/block_weights_f32.h"
#include "microkernels/channel_moments_f32.h"
#include "microkernels/depthwise_f32.h"
#include "microkernels/interleave.h"
#include "microkernels/machine_f32.h"
#include "microkernels/narrow_f32.h"
#include "microkernels/pooling_f32.h"
#include "microkernels/recurrent_f32.h"
#include "microkernels/rowwise_f32.h"
#include "microkernels/sums_f32.h"
#include "microkernels/transpose_f32.h"
#include "microkernels/winograd_f32.h"
#include "microkernels/x86/tiles_avx512.h"
#include "microkernels/x86/vec_avx512.h"

namespace loopwright {

const KernelTable& f32_avx512_kernels(bool halves) {
  static const KernelTable kernels = [halves] {
    KernelTable k;
    k.lanes = VecAvx512::kLanes;
    add_avx512_tiles<VecAvx512>(k, halves);
    add_narrow_tiles<VecAvx512>(k);
    add_activations<VecAvx512>(k);
    add_winograd<VecAvx512>(k);
    k.depthwise = depthwise_functions<VecAvx512, float, float, 14, 14>();
    k.attention_weights = &attention_weights<VecAvx512>;
    k.pool = pool_functions<VecAvx512>();
    k.clamped_sum = &clamped_sum<VecAvx512>;
    k.strassen_sums = &strassen_sums<VecAvx512>;
    add_row_operators<VecAvx512>(k);
    add_channel_functions<VecAvx512>(k);
    k.recurrent = recurrent_functions<VecAvx512>();
    k.transpose = &transpose<VecAvx512>;
    k.block_weights = block_weight_table<VecAvx512>();
    add_interleaved_floats(k.planes);
    k.fma_loop = &fma_loop<VecAvx512>;
    add_read_sums<VecAvx512>(k);
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
