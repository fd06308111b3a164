// out[i, j] = e^(x[i, j] - max x[i, :]) / sum over k of e^(x[i, k] - max x[i, :]), rows dealt to the threads.
#include "loopwright/reference.h"
#include "loopwright/rowwise.h"
#include "loopwright/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {

void softmax(const float* x, float* out, int64_t rows, int64_t n, Isa isa, int threads) {
  const SoftmaxFunction softmax_rows = isa == Isa::kReference ? &reference_softmax : f32_kernels(isa).softmax_rows;
  const int workers = threads_worth(2 * rows * n, threads);
  parallel(workers, [&](int thread) {
    const int64_t begin = split_begin(rows, workers, thread), end = split_begin(rows, workers, thread + 1);
    softmax_rows({x + begin * n, n, out + begin * n, n, end - begin, n});
  });
}

}  // namespace loopwright
