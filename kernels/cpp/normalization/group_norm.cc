// Three passes over each image: the means of groups, their mean squared differences from these, the result. E[x²] - E[x]²
// would save a pass, but cancels if the mean is large relative to the spread.
//
// Threads take ranges of pixels of all images. The sums of a range are float32 for at most kBlock pixels and float64 beyond,
// so that the error does not grow with the size of the image.
#include "loopwright/group_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/split.h"
#include "loopwright/thread_pool.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

constexpr int64_t kBlock = 256;  // pixels

// Sums of each thread, image and channel. All memory is allocated before threads start: they must not throw.
struct Sums {
  int64_t images, channels;
  std::vector<double> totals;  // (threads, images, channels)
  std::vector<float> blocks;   // (threads, channels)
  Sums(int64_t workers, int64_t images, int64_t channels)
      : images(images),
        channels(channels),
        totals(static_cast<size_t>(workers * images * channels)),
        blocks(static_cast<size_t>(workers * channels)) {}
  double* of(int64_t thread, int64_t image) { return totals.data() + (thread * images + image) * channels; }
  float* block(int64_t thread) { return blocks.data() + thread * channels; }
};

// Calls f(image, first pixel, number of pixels) for the blocks of a thread.
template <class F>
void for_each_block(const GroupNormArgs& args, int workers, int thread, const F& f) {
  const int64_t begin = split_begin(args.pixels, workers, thread), end = split_begin(args.pixels, workers, thread + 1);
  for (int64_t image = 0; image < args.images; ++image)
    for (int64_t p = begin; p < end; p += kBlock) f(image, p, std::min(kBlock, end - p));
}

// Means over groups of the sums of all threads, spread over the channels of each group: (images, channels).
std::vector<float> group_means(const GroupNormArgs& args, int workers, Sums& sums) {
  const int64_t size = args.channels / args.groups;
  std::vector<float> means(static_cast<size_t>(args.images * args.channels));
  for (int64_t image = 0; image < args.images; ++image)
    for (int64_t group = 0; group < args.groups; ++group) {
      double sum = 0.0;
      for (int thread = 0; thread < workers; ++thread)
        for (int64_t c = group * size; c < (group + 1) * size; ++c) sum += sums.of(thread, image)[c];
      const auto mean = static_cast<float>(sum / static_cast<double>(size * args.pixels));
      for (int64_t c = group * size; c < (group + 1) * size; ++c)
        means[static_cast<size_t>(image * args.channels + c)] = mean;
    }
  return means;
}

// Adds the sums per channel that `sum` computes for each block to those of the thread. Returns the means of groups.
template <class Sum>
std::vector<float> means_of(const GroupNormArgs& args, int workers, const Sum& sum) {
  Sums sums(workers, args.images, args.channels);
  parallel(workers, [&](int thread) {
    float* block = sums.block(thread);
    for_each_block(args, workers, thread, [&](int64_t image, int64_t p, int64_t pixels) {
      sum(image, args.x + (image * args.pixels + p) * args.channels, pixels, block);
      double* total = sums.of(thread, image);
      for (int64_t c = 0; c < args.channels; ++c) total[c] += block[c];
    });
  });
  return group_means(args, workers, sums);
}

}  // namespace

void group_norm(const GroupNormArgs& args, Isa isa, int threads) {
  const ChannelFunctions& functions = kernel_table(isa).channels;
  const int64_t c = args.channels;
  const int workers =
      static_cast<int>(std::min<int64_t>(args.pixels, threads_worth(4 * args.images * args.pixels * c, threads)));
  const std::vector<float> means = means_of(
      args, workers, [&](int64_t, const float* x, int64_t pixels, float* sums) { functions.sums(x, pixels, c, sums); });
  std::vector<float> scale = means_of(args, workers, [&](int64_t image, const float* x, int64_t pixels, float* sums) {
    functions.squares(x, pixels, c, means.data() + image * c, sums);
  });
  std::vector<float> shift(scale.size());
  for (size_t i = 0; i < scale.size(); ++i) {
    const auto channel = static_cast<int64_t>(i) % c;
    scale[i] = args.gamma[channel] / std::sqrt(scale[i] + args.epsilon);
    shift[i] = args.beta[channel] - means[i] * scale[i];
  }
  parallel(workers, [&](int thread) {
    for_each_block(args, workers, thread, [&](int64_t image, int64_t p, int64_t pixels) {
      const int64_t at = (image * args.pixels + p) * c;
      functions.scaled(args.x + at, pixels, c, scale.data() + image * c, shift.data() + image * c, args.out + at);
    });
  });
}

}  // namespace loopwright
