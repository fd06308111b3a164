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

// Leaves the padding of each run as it is: zeros.
void pack_narrow_panel(const Panel& panel, const float* w, int64_t stride, const PanelRows& rows, float* to) {
  for (int64_t run = 0; run < rows.runs; ++run, to += rows.run_floats(panel.nr))
    for (int64_t j = 0; j < panel.n; ++j) {
      const float* from = w + (panel.column + j) * stride + run * rows.k;
      for (int64_t p = 0; p < rows.k; ++p) to[(p / rows.lanes * panel.nr + j) * rows.lanes + p % rows.lanes] = from[p];
    }
}

}  // namespace

std::vector<Panel> split_panels(int64_t n, const PanelRows& rows, int nr) {
  std::vector<Panel> panels;
  if (nr < rows.lanes) {
    const EvenSplit split(n, nr);
    for (int64_t i = 0, column = 0, offset = 0; i < split.count; ++i) {
      const auto width = static_cast<int>(split.size(i));
      panels.push_back({offset, column, 0, width, width});
      offset += rows.runs * rows.run_floats(width);
      column += width;
    }
    return panels;
  }
  const EvenSplit split(ceil_div(n, rows.lanes), nr / rows.lanes);
  for (int64_t i = 0, column = 0; i < split.count; column += split.size(i++) * rows.lanes) {
    const auto vectors = static_cast<int>(split.size(i));
    const int width = vectors * rows.lanes;
    panels.push_back(
        {column * rows.count(), column, vectors, width, static_cast<int>(std::min<int64_t>(width, n - column))});
  }
  for (size_t i = panels.size() - 1; i-- > 0;)
    if (panels[i + 1].n == panels[i].nr) panels[i].alike = panels[i + 1].alike + 1;
  return panels;
}

void pack_panels(const std::vector<Panel>& panels, const float* w, int64_t stride, const PanelRows& rows, float* to,
                 int threads) {
  const auto count = static_cast<int64_t>(panels.size());
  parallel(threads, [&](int thread) {
    const int64_t last = split_begin(count, threads, thread + 1);
    for (int64_t i = split_begin(count, threads, thread); i < last; ++i) {
      float* panel = to + panels[i].offset;
      if (panels[i].vectors == 0) {
        pack_narrow_panel(panels[i], w, stride, rows, panel);
      } else {
        pack_panel(panels[i], w, stride, rows.count(), panel);
      }
    }
  });
}

}  // namespace loopwright
