#include <algorithm>

#include "loopwright/dense.h"
#include "loopwright/machine.h"
#include "loopwright/split.h"

namespace loopwright {

DenseSchedule default_dense_schedule(Isa isa, int64_t m, int64_t n, int64_t k, int threads, int nr) {
  const F32Kernels& kernels = f32_kernels(isa);
  const auto& cache = cache_bytes();
  DenseSchedule s;
  s.threads_m = 1;
  if (isa == Isa::kReference) return s;
  // Four vectors a row: the fewest loads an FMA on a tile that leaves registers free.
  s.nr = nr ? nr : static_cast<int>(std::min<int64_t>(isa == Isa::kAvx512 ? 4 : 2, ceil_div(n, kernels.lanes))) * kernels.lanes;
  s.mr = static_cast<int>(std::min<int64_t>(kernels.max_mr(s.nr), m));
  s.kc = std::min<int64_t>(k, 512);
  s.mc = m;
  s.nc = std::max<int64_t>(s.nr, cache[1] / 2 / (s.kc * 4) / s.nr * s.nr);
  s.prefetch = 1024;
  return s;
}

}  // namespace loopwright
