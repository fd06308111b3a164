#include "gemm/panels.h"

#include <algorithm>

#include "core/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

void pack_panel(const Panel& panel, const float* w, int64_t stride, int64_t k, float* to) {
  // One cache line of each row of W at a time.
  for (int64_t p0 = 0; p0 < k; p0 += kCacheLine)
    for (int64_t j = 0; j < panel.n; ++j) {
      const float* from = w + (panel.column + j) * stride;
      for (int64_t p = p0; p < std::min(p0 + kCacheLine, k); ++p) to[p * panel.nr + j] = from[p];
    }
}

}  // namespace

std::vector<Panel> split_panels(int64_t n, int64_t k, int nr, int lanes) {
  const EvenSplit split(ceil_div(n, lanes), nr / lanes);
  std::vector<Panel> panels;
  for (int64_t i = 0, column = 0; i < split.count; column += split.size(i++) * lanes) {
    const auto vectors = static_cast<int>(split.size(i));
    const int width = vectors * lanes;
    panels.push_back({column * k, column, vectors, width, static_cast<int>(std::min<int64_t>(width, n - column))});
  }
  for (size_t i = panels.size() - 1; i-- > 0;)
    if (panels[i + 1].n == panels[i].nr) panels[i].alike = panels[i + 1].alike + 1;
  return panels;
}

int64_t packed_floats(int64_t n, int64_t k, int lanes) { return ceil_div(n, lanes) * lanes * k; }

void pack_panels(const std::vector<Panel>& panels, const float* w, int64_t stride, int64_t k, float* to, int threads) {
  const auto count = static_cast<int64_t>(panels.size());
  parallel(threads, [&](int thread) {
    const int64_t last = split_begin(count, threads, thread + 1);
    for (int64_t i = split_begin(count, threads, thread); i < last; ++i)
      pack_panel(panels[i], w, stride, k, to + panels[i].offset);
  });
}

}  // namespace loopwright
