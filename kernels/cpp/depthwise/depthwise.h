// Depthwise convolution of NHWC images: y = activation(x * weight + bias + residual), each channel with its own
// kernel. Weights and sums are float32. Images may be bfloat16, which takes half of the bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "core/buffer.h"
#include "loopwright/depthwise.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/matrix.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

// Packed for an ISA; paddings, threads and images may vary.
struct DepthwiseWeights {
  int64_t padded_channels;  // a multiple of the vector length
  Buffer weight;            // (kh, kw, padded channels)
  Buffer bias, slopes;      // padded channels, or null

  // weight (c, 1, kh, kw). Copies it and the epilogue.
  DepthwiseWeights(const float* from, const Conv2dGeometry& geometry, const LayerEpilogue& epilogue, Isa isa);
};

class DepthwiseConvolution {
 public:
  // The geometry has c groups of one channel. Throws std::invalid_argument if the schedule is not legal.
  DepthwiseConvolution(std::shared_ptr<const DepthwiseWeights> weights, const Conv2dGeometry& geometry,
                       Activation activation, Target target, int threads,
                       const std::optional<DepthwiseSchedule>& schedule);

  // x (n, h, w, c) -> out (n, oh, ow, c), neither of them empty. Rows are pixels without gaps, of float32 or, unless the ISA is
  // kReference, bfloat16. residual has the shape of out, or null data. It may be `out` itself, but must not overlap it
  // otherwise; `out` must not overlap x. Thread-safe.
  void run(const Matrix& x, const Images& images, const Matrix& out, const Matrix& residual) const;

  // Computes rows begin..end - 1 of the output of one image on the calling thread. Reads only the rows of x under their
  // windows. x, out and residual point to where row 0 is or would be.
  void run_rows(const Matrix& x, const Images& images, int64_t begin, int64_t end, const Matrix& out,
                const Matrix& residual) const;

  // Returns the schedule that run() uses for these images.
  DepthwiseSchedule schedule(const Images& images) const;
  // Evicts the packed weights from all caches. For measurements.
  void evict_weights() const;

 private:
  struct Call;
  struct Part;
  // Rows row_begin..row_end - 1 of the output of one image, and some of its channels.
  struct Block {
    int64_t image, row_begin, row_end, channel, channels;
  };

  Call call(const Matrix& x, const Images& images, const Matrix& out, const Matrix& residual) const;
  // Vectors of the channels of a pass, at most.
  int64_t pass_vectors(const Call& call) const;
  void run_part(const Part& part) const;
  void run_strips(const Call& call, const Block& block) const;
  void run_windows(const Call& call, const Block& block) const;
  // Returns the microkernel's view of the layer if (kernel_row, kernel_column) is the first tap inside the image.
  DepthwiseLayer layer(int64_t kernel_row, int64_t kernel_column, int64_t channel) const;

  Conv2dGeometry geometry_;
  const KernelTable& kernels_;
  const DepthwiseFunctions::Strip* strips_;  // null if this kernel has no strips
  Activation activation_;
  Target target_;
  int threads_;
  std::optional<DepthwiseSchedule> fixed_;
  std::shared_ptr<const DepthwiseWeights> weights_;
  int64_t padded_channels_;
};

}  // namespace loopwright
