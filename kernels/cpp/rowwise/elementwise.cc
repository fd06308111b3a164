// out[i] = activation(a[i] + b[i]). Activations that are a clamp are applied with the sum, others to blocks of sums that are
// still in L1.
#include <algorithm>

#include "core/split.h"
#include "gemm/epilogue.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/rowwise.h"
#include "loopwright/thread_pool.h"
#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

constexpr int64_t kBlock = 2048;  // floats

void add_blocks(const float* a, const float* b, Activation activation, float* out, int64_t n,
                const KernelTable& kernels) {
  const Epilogue epilogue(activation, nullptr, kernels);
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = std::min(kBlock, n - i);
    kernels.clamped_sum({a + i, b ? b + i : nullptr, out + i, count, epilogue.lo, epilogue.hi});
    if (epilogue.activate) epilogue.apply(out + i, count, 1, static_cast<int>(count), 0);
  }
}

void add_reference(const float* a, const float* b, Activation activation, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = reference_activation(activation, a[i] + (b ? b[i] : 0.0f));
}

}  // namespace

void add(const float* a, const float* b, Activation activation, float* out, int64_t n, Isa isa, int threads) {
  check_epilogue({nullptr, activation, nullptr});
  const int workers = threads_worth((b ? 3 : 2) * n, threads);
  const int64_t lines = ceil_div(n, kCacheLine);
  // Captures values, not references: the other cores fetch the closure alone.
  parallel(workers, [=](int thread) {
    const int64_t begin = split_begin(lines, workers, thread) * kCacheLine;
    const int64_t count = std::min(n, split_begin(lines, workers, thread + 1) * kCacheLine) - begin;
    const float* b_part = b ? b + begin : nullptr;
    if (isa == Isa::kReference) {
      add_reference(a + begin, b_part, activation, out + begin, count);
    } else {
      add_blocks(a + begin, b_part, activation, out + begin, count, kernel_table(isa));
    }
  });
}

}  // namespace loopwright
