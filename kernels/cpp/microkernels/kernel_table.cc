#include "microkernels/kernel_table.h"

#include "machine/cpu_features.h"

namespace loopwright {

const KernelTable& kernel_table(Isa isa, Dtype dtype) {
#ifdef __x86_64__
  static const bool halves = splits_512_bit_vectors();
  if (dtype == Dtype::kBfloat16) return bf16_avx512_kernels(halves);
  switch (isa) {
    case Isa::kAvx512: return f32_avx512_kernels(halves);
    case Isa::kAvx2: return f32_avx2_kernels();
    case Isa::kReference: break;
  }
#else
  static_cast<void>(isa);
  static_cast<void>(dtype);
#endif
  return f32_reference_kernels();
}

Microkernel KernelTable::find(int mr, int nr) const {
  if (is_narrow(nr)) {
    const bool listed = mr >= 1 && mr <= kMaxNarrowRows && nr >= 1 && nr <= kMaxNarrowColumns;
    return listed ? narrow_tiles[mr][nr] : nullptr;
  }
  if (mr < 1 || mr > kMaxRows || nr > kMaxVectors * lanes || nr % lanes != 0) return nullptr;
  return tiles[mr][nr / lanes];
}

int KernelTable::max_mr(int nr) const {
  int mr = kMaxRows;
  while (mr > 0 && !find(mr, nr)) --mr;
  return mr;
}

}  // namespace loopwright
