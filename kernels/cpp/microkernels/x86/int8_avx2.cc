// The table of int8 on AVX2: the microkernel of float32 with pairs of int16 as words of A and B, and sums in int32. Only this
// file and f32_avx2.cc are compiled with -mavx2 -mfma.
#include "microkernels/activations_f32.h"
#include "microkernels/brgemm_f32.h"
#include "microkernels/integer_rows_i8.h"
#include "microkernels/integer_winograd_i8.h"
#include "microkernels/machine_f32.h"
#include "microkernels/planes_i8.h"
#include "microkernels/pooling_i8.h"
#include "microkernels/x86/vec_int8_avx2.h"

namespace loopwright {

const KernelTable& int8_avx2_kernels() {
  static const KernelTable kernels = [] {
    KernelTable k = f32_avx2_kernels();  // activations are float32
    k.clear_tiles();
    k.tile_k = VecInt8Avx2::kProducts;
    // A register more than with floats is for the products.
    add_tiles<VecInt8Avx2, 1, 12>(k);
    add_tiles<VecInt8Avx2, 2, 6>(k);
    add_tiles<VecInt8Avx2, 3, 3>(k);
    add_tiles<VecInt8Avx2, 4, 2>(k);
    k.integer_rows = integer_row_functions<VecInt8Avx2>();
    k.integer_winograd = integer_winograd_functions<VecInt8Avx2>();
    k.pool.max_of_uint8 = &max_pool_row<VecInt8Avx2, false>;
    k.pool.max_of_int8 = &max_pool_row<VecInt8Avx2, true>;
    add_quantized_planes<VecInt8Avx2>(k.planes);
    k.fma_loop = &fma_loop<VecInt8Avx2>;
    return k;
  }();
  return kernels;
}

}  // namespace loopwright
