#include "loopwright/channels_last.h"

#include <algorithm>

#include "core/split.h"
#include "gemm/tile_quantization.h"
#include "loopwright/thread_pool.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

void channels_last(const float* x, int64_t n, int64_t c, int64_t pixels, const std::optional<Quantization>& integers,
                   void* out, Isa isa, int threads) {
  constexpr int64_t kBlock = 1024;  // pixels that a thread takes at once; a multiple of all vectors
  const PlaneFunctions& planes = kernel_table(isa, integers ? Dtype::kInt8 : Dtype::kFloat32).planes;
  const auto to_floats = planes.floats[c];
  const auto to_integers = planes.integers[c];
  const float scale = integers ? integers->scale : 1.0f;
  const TileRounding rounding = integers ? tile_rounding(*integers) : TileRounding{};
  const bool rounds = integers.has_value();
  const int64_t blocks = ceil_div(pixels, kBlock);
  const int workers = static_cast<int>(std::min<int64_t>(n * blocks, threads_worth(2 * n * c * pixels, threads)));
  // Captures values, not references: the other cores fetch the closure alone.
  parallel(workers, [=](int thread) {
    for (int64_t b = split_begin(n * blocks, workers, thread); b < split_begin(n * blocks, workers, thread + 1); ++b) {
      const int64_t image = b / blocks, first = b % blocks * kBlock, count = std::min(kBlock, pixels - first);
      const float* const from = x + image * c * pixels + first;
      const int64_t to = (image * pixels + first) * c;
      if (rounds) {
        to_integers(from, pixels, count, scale, rounding, static_cast<uint8_t*>(out) + to);
      } else {
        to_floats(from, pixels, count, static_cast<float*>(out) + to);
      }
    }
  });
}

}  // namespace loopwright
