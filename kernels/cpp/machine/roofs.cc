#include <algorithm>
#include <vector>

#include "core/buffer.h"
#include "loopwright/machine.h"
#include "loopwright/thread_pool.h"
#include "machine/timing.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// Plain loops for CPUs without a supported vector ISA, with enough independent chains for the baseline instruction set.
double scalar_fma_loop(int64_t iterations) {
  constexpr int kChains = 32;
  volatile float opaque = 0.5f;
  const float x = opaque;
  float acc[kChains] = {};
  for (int64_t i = 0; i < iterations; ++i)
    for (float& a : acc) a = a * x + x;  // converges to 1, so it is never subnormal or infinite
  for (const float a : acc) opaque = opaque + a;
  return 2.0 * kChains * static_cast<double>(iterations);
}

float scalar_read_sum(const float* data, int64_t count) {
  float acc[4] = {};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4)
    for (int j = 0; j < 4; ++j) acc[j] += data[i + j];
  for (; i < count; ++i) acc[0] += data[i];
  return acc[0] + acc[1] + acc[2] + acc[3];
}

// Runs f(thread) on all threads, `runs` times. Returns the seconds of the fastest run.
template <class F>
double best_secs(int threads, int runs, F&& f) {
  return least_secs(runs, [&] { parallel(threads, f); });
}

}  // namespace

double peak_gflops(Isa isa, Dtype dtype, int threads) {
  const KernelTable& kernels = kernel_table(isa, dtype);
  const auto loop = kernels.fma_loop ? kernels.fma_loop : &scalar_fma_loop;
  const double start = now_secs();
  double operations = loop(1000);
  const auto iterations = static_cast<int64_t>(1000 * 2e-3 / (now_secs() - start)) + 1;  // about 2 ms per run
  operations = loop(iterations);
  const double secs = best_secs(threads, 40, [&](int) { loop(iterations); });
  return operations * threads / secs * 1e-9;
}

double memory_bandwidth(int threads, int64_t working_set) {
  const int64_t part = std::max<int64_t>(working_set / static_cast<int64_t>(sizeof(float)) / threads, 64);
  const Buffer data = make_buffer(part * threads);
  // Pages that nobody has written are all the same page of zeros, which stays in a cache. The thread that reads a part
  // writes it, so it also lies in the memory of that thread's node.
  parallel(threads, [&](int thread) { std::fill_n(data.get() + thread * part, part, 1.0f); });
  const int64_t sweep = part * threads * static_cast<int64_t>(sizeof(float));
  const int64_t repeats = std::max<int64_t>(1, (int64_t{1} << 24) / sweep);  // 16 MiB or one sweep per run
  std::vector<float> sums(threads * 16);                                     // one cache line per thread
  // Short runs, many of them: a busy neighbor comes and goes within tens of milliseconds.
  double secs = 1e30;
  for (const auto read : kernel_table(available_isas().front()).read_sums) {
    const auto sum = read ? read : &scalar_read_sum;
    secs = std::min(secs, best_secs(threads, sweep > (int64_t{1} << 26) ? 5 : 150, [&](int thread) {
                      for (int64_t r = 0; r < repeats; ++r) sums[thread * 16] += sum(data.get() + thread * part, part);
                    }));
  }
  return static_cast<double>(sweep) * static_cast<double>(repeats) / secs * 1e-9;
}

}  // namespace loopwright
