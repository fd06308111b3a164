#include "loopwright/brgemm.h"

namespace loopwright {

const F32Kernels& f32_kernels(Isa isa, Dtype dtype) {
  if (dtype == Dtype::kBfloat16) return bf16_kernels_avx512();
  switch (isa) {
    case Isa::kAvx512: return f32_kernels_avx512();
    case Isa::kAvx2: return f32_kernels_avx2();
    case Isa::kReference: break;
  }
  return f32_kernels_reference();
}

Microkernel F32Kernels::find(int mr, int nr) const {
  if (mr < 1 || mr > kMaxRows || nr < lanes || nr > kMaxVectors * lanes || nr % lanes != 0) return nullptr;
  return tiles[mr][nr / lanes];
}

int F32Kernels::max_mr(int nr) const {
  int mr = kMaxRows;
  while (mr > 0 && !find(mr, nr)) --mr;
  return mr;
}

}  // namespace loopwright
