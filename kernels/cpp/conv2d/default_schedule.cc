#include <algorithm>

#include "loopwright/conv2d.h"
#include "loopwright/machine.h"
#include "loopwright/split.h"

namespace loopwright {

Conv2dSchedule default_conv2d_schedule(Isa isa, const Conv2dGeometry& g, const Images& images, int threads) {
  Conv2dSchedule s;
  if (isa == Isa::kReference) return s;
  const F32Kernels& kernels = f32_kernels(isa);
  const int64_t ow = g.output_w(images.w);
  s.nr = (ow < 10 ? 3 : 2) * kernels.lanes;
  s.mr = static_cast<int>(std::min<int64_t>(kernels.max_mr(s.nr), ow));
  s.rows = 8;
  s.kc = 1024;
  s.prefetch = 512;
  s.prefetch_next = true;
  s.threads_m = threads;
  return s;
}

}  // namespace loopwright
