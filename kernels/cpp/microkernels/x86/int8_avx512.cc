// The table of int8 on AVX512_VNNI: the microkernel of float32 with four bytes as words of A and B, and sums in int32. Only this
// file is compiled with -mavx512f -mavx512bw -mavx512vl -mavx512vnni.
#include "microkernels/activations_f32.h"
#include "microkernels/integer_depthwise_i8.h"
#include "microkernels/integer_rows_i8.h"
#include "microkernels/machine_f32.h"
#include "microkernels/planes_i8.h"
#include "microkernels/pooling_i8.h"
#include "microkernels/x86/tiles_avx512.h"
#include "microkernels/x86/vec_int8_avx512.h"

namespace loopwright {

const KernelTable& int8_avx512_kernels(bool halves) {
  static const KernelTable kernels = [halves] {
    KernelTable k = f32_avx512_kernels(halves);  // activations are float32
    k.clear_tiles();
    k.tile_k = VecInt8Avx512::kProducts;
    add_avx512_tiles<VecInt8Avx512>(k, halves);
    k.integer_rows = integer_row_functions<VecInt8Avx512>();
    add_integer_depthwise<VecInt8Avx512, 3, 1>(k.integer_depthwise.three[1]);
    add_integer_depthwise<VecInt8Avx512, 3, 2>(k.integer_depthwise.three[2]);
    add_integer_depthwise<VecInt8Avx512, 5, 1>(k.integer_depthwise.five[1]);
    add_integer_depthwise<VecInt8Avx512, 5, 2>(k.integer_depthwise.five[2]);
    k.pool.max_of_uint8 = &max_pool_row<VecInt8Avx512, false>;
    k.pool.max_of_int8 = &max_pool_row<VecInt8Avx512, true>;
    add_quantized_planes<VecInt8Avx512>(k.planes);
    k.fma_loop = &fma_loop<VecInt8Avx512>;
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
