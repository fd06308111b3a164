// The table of float32 on AVX2 and FMA. Only this file is compiled with -mavx2 -mfma.
#include "microkernels/activations_f32.h"
#include "microkernels/block_weights_f32.h"
#include "microkernels/brgemm_f32.h"
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
#include "microkernels/x86/vec_avx2.h"

namespace loopwright {

const KernelTable& f32_avx2_kernels() {
  static const KernelTable kernels = [] {
    KernelTable k;
    k.lanes = VecAvx2::kLanes;
    add_tiles<VecAvx2, 1, 12>(k);
    add_tiles<VecAvx2, 2, 6>(k);
    add_tiles<VecAvx2, 3, 4>(k);
    add_tiles<VecAvx2, 4, 2>(k);
    add_tiles<VecAvx2, 5, 2>(k);
    add_tiles<VecAvx2, 6, 1>(k);
    add_narrow_tiles<VecAvx2>(k);
    add_activations<VecAvx2>(k);
    add_winograd<VecAvx2>(k);
    k.depthwise = depthwise_functions<VecAvx2, float, float, 12, 10>();
    k.attention_weights = &attention_weights<VecAvx2>;
    k.pool = pool_functions<VecAvx2>();
    k.clamped_sum = &clamped_sum<VecAvx2>;
    k.strassen_sums = &strassen_sums<VecAvx2>;
    add_row_operators<VecAvx2>(k);
    add_channel_functions<VecAvx2>(k);
    k.recurrent = recurrent_functions<VecAvx2>();
    k.transpose = &transpose<VecAvx2>;
    k.block_weights = block_weight_table<VecAvx2>();
    add_interleaved_floats(k.planes);
    k.fma_loop = &fma_loop<VecAvx2>;
    add_read_sums<VecAvx2>(k);
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
