// y = activation(conv2d(x, weight) + bias + residual) where each channel has a kernel of its own, on NHWC images.
#pragma once

#include <cstdint>
#include <optional>

#include "loopwright/brgemm.h"
#include "loopwright/buffer.h"
#include "loopwright/conv2d_geometry.h"

namespace loopwright {

// What can be decided about a depthwise convolution; any legal value gives the same answer.
//
//   columns    pixels of an output row that are computed together; a strip of them goes down the image
//   channels   of a strip: it comes back for the next ones
//   threads_m  of the threads split the rows of the output, the rest the channels
struct DepthwiseSchedule {
  int columns = 1;
  int64_t channels = 1;
  int threads_m = 1;
};

// Good without a search; the reasons are in depthwise/default_schedule.cc.
DepthwiseSchedule default_depthwise_schedule(Isa isa, const Conv2dGeometry& g, const Images& images, int threads);

class DepthwiseConv2d {
 public:
  // weight (c, 1, kh, kw), bias c floats or null; both are copied. The geometry is that of c groups of one channel.
  // Throws std::invalid_argument where the schedule is not legal.
  DepthwiseConv2d(const float* weight, const Conv2dGeometry& geometry, const float* bias, Activation activation,
                  Isa isa, int threads, const std::optional<DepthwiseSchedule>& schedule);

  // x (n, h, w, c) -> out (n, oh, ow, c), neither of them empty. residual as out, or null; it may be `out` itself, but
  // overlap it in no other way, and `out` must not overlap x. Safe to call from several threads at once.
  void run(const float* x, const Images& images, float* out, const float* residual) const;

  // Rows begin..end of the one image's output, on the calling thread: only the rows of x under their windows are read,
  // and x, out and residual are where row 0 would be.
  void run_rows(const float* x, const Images& images, int64_t begin, int64_t end, float* out,
                const float* residual) const;

  // What run() will use for these images.
  DepthwiseSchedule schedule(const Images& images) const;
  // Puts the packed weights out of all caches, as the other layers of a network do: for measuring.
  void evict_weights() const;

 private:
  struct Call;
  struct Part;
  // Rows row_begin..row_end of one image of the output, and some of its channels.
  struct Block {
    int64_t image, row_begin, row_end, channel, channels;
  };

  Call call(const float* x, const Images& images, float* out, const float* residual) const;
  void run_part(const Part& part) const;
  void run_strips(const Call& call, const Block& block) const;
  void run_windows(const Call& call, const Block& block) const;
  // What a microkernel needs of the layer where (kernel_row, kernel_column) is the first tap inside the image.
  DepthwiseLayer layer(int64_t kernel_row, int64_t kernel_column, int64_t channel) const;

  Conv2dGeometry geometry_;
  const F32Kernels& kernels_;
  const DepthwiseFunctions::Strip* strips_;  // null where the kernel has none
  Activation activation_;
  Isa isa_;
  int threads_;
  std::optional<DepthwiseSchedule> fixed_;
  int64_t padded_channels_;  // whole vectors
  Buffer weight_, bias_;     // the weight as (kh, kw, padded channels)
};

}  // namespace loopwright
