// out[i, :] = gamma * (v - mean(v)) / sqrt(variance(v) + eps) + beta with v = x[i, :] + residual[i, :], rows dealt to the
// threads.
#include "loopwright/reference.h"
#include "loopwright/rowwise.h"
#include "loopwright/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {

void layer_norm(const LayerNormArgs& args, Isa isa, int threads) {
  const LayerNormFunction layer_norm_rows =
      isa == Isa::kReference ? &reference_layer_norm : f32_kernels(isa).layer_norm_rows;
  const int workers = threads_worth((args.residual ? 3 : 2) * args.rows * args.n, threads);
  parallel(workers, [&](int thread) {
    const int64_t begin = split_begin(args.rows, workers, thread), at = begin * args.n;
    LayerNormArgs part = args;
    part.x += at;
    part.residual = args.residual ? args.residual + at : nullptr;
    part.out += at;
    part.rows = split_begin(args.rows, workers, thread + 1) - begin;
    layer_norm_rows(part);
  });
}

}  // namespace loopwright
