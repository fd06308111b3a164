#include "microkernels/kernel_table.h"

#include "machine/cpu_features.h"

namespace loopwright {

const KernelTable& kernel_table(Isa isa, Dtype dtype) {
#ifdef __x86_64__
  static const bool halves = splits_512_bit_vectors(), has_vnni = cpu_has_avx512_vnni(),
                    has_bf16 = cpu_has_avx512_bf16();
  if (dtype == Dtype::kBfloat16 && isa == Isa::kAvx512 && has_bf16) return bf16_avx512_kernels(halves);
  if (dtype == Dtype::kBfloat16 && isa != Isa::kReference) return bf16_avx2_kernels();  // CPUs with AVX-512 have AVX2
  if (dtype == Dtype::kInt8 && isa == Isa::kAvx512 && has_vnni) return int8_avx512_kernels(halves);
  if (dtype == Dtype::kInt8 && isa != Isa::kReference) return int8_avx2_kernels();
  if (dtype == Dtype::kFloat32 && isa == Isa::kAvx512) return f32_avx512_kernels(halves);
  if (dtype == Dtype::kFloat32 && isa == Isa::kAvx2) return f32_avx2_kernels();
#else
  static_cast<void>(isa);
#endif
  return dtype == Dtype::kInt8 ? int8_reference_kernels() : f32_reference_kernels();
}

void KernelTable::clear_tiles() {
  for (auto& rows : tiles)
    for (Microkernel& tile : rows) tile = nullptr;
  for (auto& rows : half_tiles)
    for (Microkernel& tile : rows) tile = nullptr;
  for (auto& rows : narrow_tiles)
    for (Microkernel& tile : rows) tile = nullptr;
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
