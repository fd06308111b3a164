// The schedule of a dense layer without a search, from the shape, the register tiles and the caches.
#include <algorithm>

#include "loopwright/dense.h"
#include "loopwright/machine.h"
#include "loopwright/split.h"

namespace loopwright {
namespace {

// Few rows, which one register tile holds: each weight is read once, so the tile is wide (long runs, many FMA chains).
// Far more rows than columns: A is what is streamed, and a wide tile goes over it fewer times (where the register file
// has room for enough rows of one).
// Else a tall tile: the fewest bytes of B from L2 for an FMA.
constexpr int kWideVectors = 4, kTallVectors = 2;

int default_nr(const F32Kernels& kernels, int64_t m, int64_t n) {
  const int wide_mr = kernels.max_mr(kWideVectors * kernels.lanes);
  const bool wide = m <= wide_mr || (m >= 2 * n && wide_mr >= kWideVectors);
  return static_cast<int>(std::min<int64_t>(wide ? kWideVectors : kTallVectors, ceil_div(n, kernels.lanes))) *
         kernels.lanes;
}

// The largest divisor of `threads` that leaves each thread a row tile, where the rows are the longer side.
int default_threads_m(int64_t m, int64_t n, int mr, int threads) {
  int across_m = m > n ? threads : 1;
  while (threads % across_m != 0 || across_m * mr > std::max<int64_t>(m, mr)) --across_m;
  return across_m;
}

}  // namespace

DenseSchedule default_dense_schedule(Isa isa, int64_t m, int64_t n, int64_t k, int threads, int nr) {
  const F32Kernels& kernels = f32_kernels(isa);
  DenseSchedule s;
  if (isa == Isa::kReference) return s;
  constexpr int64_t kFloat = sizeof(float);
  const int64_t l2 = cache_bytes()[1];
  s.nr = nr ? nr : default_nr(kernels, m, n);
  s.mr = static_cast<int>(std::min<int64_t>(kernels.max_mr(s.nr), m));
  s.nc = std::max<int64_t>(n, s.nr);
  s.mc = m;
  s.kc = k;
  if (m <= s.mr) {  // B streams past once
    s.order = DenseSchedule::Order::kNInner;
    s.prefetch = 4096;
  } else if (s.nc * k * kFloat <= l2 / 2) {  // B stays in L2 while the strips of A go past it
    s.order = DenseSchedule::Order::kNInner;
    s.prefetch = 512;
  } else {  // a panel of B stays near while the row tiles of A's block, which stays in L2, go past it
    s.order = DenseSchedule::Order::kMInner;
    const int64_t panel_k = std::max<int64_t>(l2 / 8 / (s.nr * kFloat), 64);
    s.kc = ceil_div(k, ceil_div(k, panel_k));
    s.mc = std::min(m, std::max<int64_t>(l2 / 2 / (s.kc * kFloat), s.mr));
    s.prefetch = 512;
    s.prefetch_next = true;
  }
  s.threads_m = default_threads_m(m, n, s.mr, threads);
  return s;
}

}  // namespace loopwright
