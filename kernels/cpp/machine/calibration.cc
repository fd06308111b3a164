#include "machine/calibration.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/split.h"
#include "loopwright/machine.h"
#include "loopwright/recurrent.h"
#include "loopwright/thread_pool.h"
#include "machine/timing.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int kRuns = 7;
constexpr double kRunSecs = 100e-6;  // of a run: long for the clock, short for an interrupt

// Returns the size of a cache. Some virtual machines do not report L3; it is then assumed to be a few times L2.
int64_t level_bytes(Level level) {
  const int64_t bytes = cache_bytes()[static_cast<size_t>(level)];
  return bytes > 0 ? bytes : 4 * cache_bytes()[1];
}

// Returns memory of this many floats that is not the page of zeros that untouched memory shares.
Buffer touched(int64_t floats) {
  Buffer data = make_buffer(floats);
  std::fill_n(data.get(), floats, 0.0f);
  return data;
}

// Returns the seconds of f(), the least of several runs of many calls.
template <class F>
double secs_of(const F& f) {
  f();
  int64_t calls = 1;
  double once = least_secs(2, f);
  calls = std::max<int64_t>(1, static_cast<int64_t>(kRunSecs / std::max(once, 1e-9)));
  return least_secs(kRuns,
                    [&] {
                      for (int64_t i = 0; i < calls; ++i) f();
                    }) /
         static_cast<double>(calls);
}

// Memory of panels, larger than any cache, which successive measurements read further and further.
struct Stream {
  Buffer data;
  int64_t floats, next = 0;
};

Stream& stream() {
  static Stream shared = [] {
    const int64_t bytes = std::max<int64_t>(2 * level_bytes(Level::kL3), int64_t{128} << 20);
    return Stream{touched(bytes / kFloat), bytes / kFloat};
  }();
  return shared;
}

// Runs body(0), ..., body(threads - 1), which wait for each other, at the same time.
template <class F>
void on_all(int threads, F&& body) {
  if (threads <= 1) {
    body(0);
  } else if (!try_run_on_pool(threads, ThreadBody(body))) {
    throw std::runtime_error("the thread pool is busy: measure when no other thread computes");
  }
}

}  // namespace

double clock_ghz() {
  constexpr int64_t kProducts = 20000;
  constexpr double kLatency = 3;
  volatile uint64_t opaque = 3;
  const uint64_t factor = opaque;
  uint64_t x = factor;
  const double secs = least_secs(20, [&] {
    for (int64_t i = 0; i < kProducts; ++i) {
      x *= factor;
      asm volatile("" : "+r"(x));  // otherwise the compiler multiplies the factors first
    }
  });
  opaque = x;
  return kLatency * kProducts / secs * 1e-9;
}

double tile_secs(Isa isa, Dtype dtype, int rows, int halves, int64_t k, Level level, int prefetch_bytes, int series) {
  const KernelTable& kernels = kernel_table(isa, dtype);
  const int vectors = (halves + 1) / 2, nr = vectors * kernels.lanes;
  if (rows < 1 || rows > KernelTable::kMaxRows || vectors < 1 || vectors > KernelTable::kMaxVectors ||
      !kernels.tiles[rows][vectors])
    throw std::invalid_argument("no microkernel for these rows and half vectors");
  const int64_t panel = k * nr;
  // As many panels as fill half of the level. A, C and what the CPU prefetches take the rest.
  const int64_t level_floats = level == Level::kMemory ? 0 : level_bytes(level) / 2 / kFloat;
  // C moves through a quarter of L2, as the output of a block does.
  const int64_t c_tile = rows * spread_stride(nr) * series;
  const int64_t c_tiles = std::max<int64_t>(1, cache_bytes()[1] / 4 / kFloat / c_tile);
  const Buffer a = touched(rows * series * spread_stride(k)), c = touched(c_tiles * c_tile);
  Stream& far = stream();
  const int64_t in_l3 = level_bytes(Level::kL3) / 2 / kFloat;
  if (level > Level::kL2 && in_l3 + panel * series + prefetch_bytes / kFloat > far.floats)
    throw std::invalid_argument("the panels of a series exceed the memory that measurements read");
  const Buffer own = level <= Level::kL2 ? touched(std::max(panel * series, level_floats)) : Buffer{};
  const int64_t panels = level == Level::kL1 ? 1 : std::max<int64_t>(series, level_floats / panel / series * series);

  const float *a_tile = a.get(), *b_tile = nullptr;
  BrgemmArgs args{};
  args.a = &a_tile;
  args.b = &b_tile;
  args.batch = 1;
  args.k = k;
  args.a_stride = spread_stride(k);
  args.c = c.get();
  args.c_stride = spread_stride(nr);
  args.n = halves % 2 == 1 ? nr - kernels.lanes / 2 : nr;
  args.prefetch = prefetch_bytes / kFloat;
  args.count = series;
  args.c_step = rows * args.c_stride;
  if (level == Level::kL1) {
    args.a_step = rows * args.a_stride;
  } else {
    args.b_step = panel;
  }
  const Microkernel kernel = kernels.tile(rows, vectors, args.n);
  int64_t c_next = 0;
  const auto run = [&] {
    args.c = c.get() + c_next * c_tile;
    c_next = c_next + 1 < c_tiles ? c_next + 1 : 0;
    kernel(args);
  };
  if (level == Level::kMemory) {
    // Each run reads further memory, which the runs before it have evicted. The start of it may be in L3.
    far.next = std::max(far.next, in_l3);
    const int64_t fitting = (far.floats - in_l3 - args.prefetch) / (panel * series);
    const int64_t count = std::clamp<int64_t>((int64_t{1} << 19) / panel / series, 1, fitting) * series;
    const double secs = least_secs(3, [&] {
      if (far.next + count * panel + args.prefetch > far.floats) far.next = in_l3;
      for (int64_t i = 0; i < count; i += series, far.next += series * panel) {
        b_tile = far.data.get() + far.next;
        run();
      }
    });
    return secs / static_cast<double>(count);
  }
  const float* first = level <= Level::kL2 ? own.get() : far.data.get();
  int64_t next = 0;
  const auto call = [&] {
    b_tile = first + next * panel;
    next = next + series < panels ? next + series : 0;
    run();
  };
  for (int64_t i = 0; i < panels; i += series) call();  // brings all of them into the cache
  return secs_of(call) / series;
}

std::pair<double, double> transform_secs(Isa isa, int which, int vectors) {
  const KernelTable& kernels = kernel_table(isa);
  const WinogradFunctions functions[] = {kernels.winograd2, kernels.winograd3, kernels.winograd4};
  constexpr int kOutputs[] = {2, 3, 4}, kSizes[] = {4, 6, 6};
  const WinogradFunctions& f = functions[which];
  const int size = kSizes[which], outputs = kOutputs[which];
  const int64_t channels = vectors * kernels.lanes, places = size * size;
  // Tiles that together fill half of L2: image and transformed tiles.
  const int64_t tiles = std::max<int64_t>(2, cache_bytes()[1] / 2 / kFloat / (2 * places * channels));
  const int64_t place = spread_stride(tiles * channels);
  const Buffer image = touched(tiles * places * channels), transformed = touched(places * place + channels);
  const double input = secs_of([&] {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const float* d = image.get() + tile * places * channels;
      const float* next = tile + 1 < tiles ? d + places * channels : d;
      f.input({d, size * channels, channels, channels, transformed.get() + tile * channels, place, next,
               size * channels, channels});
    }
  });
  WinogradOutput args{};
  args.place_stride = place;
  args.row_stride = outputs * channels;
  args.pixel_stride = channels;
  args.rows = args.columns = outputs;
  args.n = static_cast<int>(channels);
  args.lo = 0;
  args.hi = 6;
  const double output = secs_of([&] {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      args.m = transformed.get() + tile * channels;
      args.y = image.get() + tile * outputs * outputs * channels;
      args.next = tile + 1 < tiles ? args.y + outputs * outputs * channels : args.y;
      f.output(args);
    }
  });
  return {input / static_cast<double>(tiles), output / static_cast<double>(tiles)};
}

double strassen_sum_secs(Isa isa) {
  const KernelTable& kernels = kernel_table(isa);
  const int64_t n = cache_bytes()[1] / 2 / kFloat / 8 / kCacheLine * kCacheLine, stride = n + kCacheLine;
  const Buffer data = touched(8 * stride);
  const auto at = [&](int64_t i) { return data.get() + i * stride; };
  const double secs =
      secs_of([&] { kernels.strassen_sums({at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), n}); });
  return secs / static_cast<double>(n / kernels.lanes);
}

double cell_secs(Isa isa) {
  const KernelTable& kernels = kernel_table(isa);
  constexpr int64_t kBlocks = 16, kGates = 4;
  const int64_t units = kBlocks * kernels.lanes;
  const Buffer x = touched(kGates * units), product = touched(kGates * units), state = touched(units),
               next = touched(units), cell = touched(units);
  const GateActivation activations[] = {{GateFunction::kSigmoid}, {GateFunction::kTanh}, {GateFunction::kTanh}};
  RecurrentStep step{};
  step.blocks = kBlocks;
  step.units = units;
  step.x = x.get();
  step.product = product.get();
  step.state = state.get();
  step.next = next.get();
  step.cell = cell.get();
  step.activations = activations;
  step.clip = 1e30f;
  return secs_of([&] { kernels.recurrent.lstm(step); }) / static_cast<double>(kBlocks);
}

double fork_join_secs(int threads) {
  // The caller takes back what no thread has started, so it must wait for all of them.
  SpinBarrier barrier;
  return secs_of([&] { on_all(threads, [&](int) { barrier.wait(threads); }); });
}

double barrier_secs(int threads) {
  constexpr int kMeetings = 200;
  SpinBarrier barrier;
  const double secs = secs_of([&] {
    on_all(threads, [&](int) {
      for (int i = 0; i < kMeetings; ++i) barrier.wait(threads);
    });
  });
  return secs / kMeetings;
}

}  // namespace loopwright
