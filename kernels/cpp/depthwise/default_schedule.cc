// Default schedules of depthwise convolutions.
//
// Columns: the widest strip. Wide strips use each loaded weight for more FMAs and load fewer pixels twice. With a stride they
// share fewer pixels, and their rows take more of L1, so the tables of strips end earlier.
//
// Channels: as many as fit seven eighths of L1 with the pixels under the windows of a strip, the weights and a row of the
// output. Twice as many cost 3x3 kernels a fifth of their speed on 14×14 images, and 5x5 kernels a third.
//
// Threads: the split whose busiest thread ends first. If several do, the one with the most threads on rows, where each thread
// reads fewer pages.
#include <algorithm>
#include <limits>

#include "core/split.h"
#include "loopwright/depthwise.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

int widest(const DepthwiseFunctions::Strip* strips, int64_t columns) {
  if (!strips) return 1;
  auto c = static_cast<int>(std::min<int64_t>(DepthwiseFunctions::kMaxColumns, columns));
  while (!strips[c]) --c;
  return c;
}

// Returns the cycles until the busiest of some threads has finished, with so many rows of the output and vectors of channels.
double cycles(const Target& target, const Conv2dGeometry& g, const Images& images, int64_t lines, int64_t vectors,
              int threads) {
  constexpr double kLoadsPerCycle = 2;  // an FMA loads its pixels
  const MachineModel& machine = *target.model;
  const double work = static_cast<double>(lines * vectors), columns = static_cast<double>(g.output_w(images.w));
  const double products = work * columns * static_cast<double>(g.kh * g.kw) / kLoadsPerCycle;
  const double pixels = static_cast<double>(g.stride_h * images.w) + columns;
  const double bytes = work * pixels * static_cast<double>(kernel_table(target).lanes) * sizeof(float);
  // The previous layer has left its output in the caches of several cores.
  return std::max(products, bytes / machine.bandwidth_per_thread(Level::kL3, threads)) +
         machine.fork_join_cycles(threads);
}

}  // namespace

DepthwiseSchedule default_depthwise_schedule(const Target& target, const Conv2dGeometry& g, const Images& images,
                                             int threads) {
  const KernelTable& kernels = kernel_table(target);
  const int64_t ow = g.output_w(images.w), lines = images.n * g.output_h(images.h);
  DepthwiseSchedule s;
  s.columns =
      static_cast<int>(EvenSplit(ow, widest(kernels.depthwise.strips(g.kw, g.stride_w, g.dilation_w), ow)).size(0));

  // Windows of a strip read no more pixels than the image has.
  const int64_t read = std::min(images.w, (s.columns - 1) * g.stride_w + g.kw);
  const int64_t pixels = std::min(images.h, g.kh) * read, taps = g.kh * g.kw;
  const int64_t channel_bytes = (pixels + taps + s.columns) * static_cast<int64_t>(sizeof(float));
  const int64_t fitting = target.model->cache_bytes[0] * 7 / 8 / channel_bytes;
  const int64_t vectors = ceil_div(g.c, kernels.lanes);
  s.channels = EvenSplit(vectors, std::max<int64_t>(1, fitting / kernels.lanes)).size(0) * kernels.lanes;

  double least = std::numeric_limits<double>::infinity();
  for_each_thread_split(threads, [&](const ThreadSplit& split) {
    const double found = cycles(target, g, images, ceil_div(lines, split.m), ceil_div(vectors, split.n), split.count());
    if (found >= least) return;
    least = found;
    s.threads = split;
  });
  return s;
}

}  // namespace loopwright
