// y = activation(conv2d(x, weight) + bias + residual) on NHWC images.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "loopwright/brgemm.h"
#include "loopwright/conv2d_geometry.h"
#include "loopwright/dense.h"
#include "loopwright/depthwise.h"

namespace loopwright {

// What can be decided about a convolution that is more than a matrix product; any legal value gives the same answer,
// but for Winograd's rounding.
//
//   threads    threads_m × (threads / threads_m) rectangles of (output pixels, output channels), one a thread
//   mr × nr    the register tile; direct: mr pixels of one output row, Winograd: mr tiles
//   rows       direct: output rows of an image that all channels pass over before the next ones; Winograd: tiles
//   likewise kc         direct: length of a block of the sum; Winograd sums over all channels at once prefetch   bytes
//   ahead of the weights' stream that L1 asks for prefetch_next  L2 asks for the next panel of weights while this one
//   is in use
struct Conv2dSchedule {
  enum class Algorithm { kDirect, kWinograd2, kWinograd3, kWinograd4 };
  Algorithm algorithm = Algorithm::kDirect;
  int mr = 1, nr = 1;
  int64_t rows = 1, kc = 1;
  int prefetch = 0;
  bool prefetch_next = false;
  int threads_m = 1;
};

// Whether an algorithm computes this convolution. Winograd's are for float32 and take neither dilation nor groups, and
// F(2×2, 3×3) and F(4×4, 3×3) a 3×3 kernel without stride, F(3×3, 4×4) a 7×7 kernel with a stride of 2.
bool applies(Conv2dSchedule::Algorithm algorithm, const Conv2dGeometry& g, Dtype dtype);

// Good without a search; the reasons are in conv2d/default_schedule.cc. Not for pointwise convolutions, which are
// dense. Winograd's algorithms, which round more, are among the candidates only where they are allowed.
Conv2dSchedule default_conv2d_schedule(Isa isa, Dtype dtype, const Conv2dGeometry& g, const Images& images, int threads,
                                       bool winograd_allowed = true);

class Convolution;

class Conv2d {
 public:
  using Schedule = std::variant<DenseSchedule, DepthwiseSchedule, Conv2dSchedule>;

  // weight (o, c / groups, kh, kw), bias o floats or null; both are copied. A pointwise convolution takes a
  // DenseSchedule, a depthwise one in float32 a DepthwiseSchedule, all others a Conv2dSchedule. Throws std::invalid_argument where the ISA or this CPU does not have
  // the dtype, or the schedule is of the other kind, or has no microkernel, or Winograd's algorithm does not apply.
  Conv2d(const void* weight, Dtype dtype, const Conv2dGeometry& geometry, const float* bias, Activation activation,
         Isa isa, int threads, const std::optional<Schedule>& schedule);
  ~Conv2d();

  // x (n, h, w, c) -> out (n, oh, ow, o), neither of them empty, of the layer's dtype; out may be float32 in any case.
  // residual (n, oh, ow, o) of the layer's dtype, or null; it may be `out` itself, but overlap it in no other way, and
  // `out` must not overlap x. Safe to call from several threads at once.
  void run(const void* x, const Images& images, void* out, Dtype out_dtype, const void* residual) const;

  // Rows begin..end of one image's output, float32. Only the rows of x under their windows are read; x, out and residual
  // are where row 0 would be. Not by Winograd's algorithms.
  void run_rows(const float* x, const Images& images, int64_t begin, int64_t end, float* out,
                const float* residual) const;

  Dtype dtype() const { return dtype_; }
  // Puts the packed weights that run() uses for these images out of all caches, as the other layers of a network do: for
  // measuring.
  void evict_weights(const Images& images) const;

  const Conv2dGeometry& geometry() const { return geometry_; }
  // What run() will use for these images.
  Schedule schedule(const Images& images) const;

 private:
  const Convolution& convolution(const Conv2dSchedule& s) const;
  std::unique_ptr<const Convolution> make(const Conv2dSchedule& s) const;

  Conv2dGeometry geometry_;
  Activation activation_;
  Isa isa_;
  Dtype dtype_;
  int threads_;
  std::optional<Conv2dSchedule> fixed_;
  Buffer weight_, bias_;  // the weight as (o, kh, kw, words); the bias with a vector tile of zeros behind it
  std::unique_ptr<const Dense> dense_;
  std::unique_ptr<const DepthwiseConv2d> depthwise_;
  // Weights packed for an algorithm and a width of panels. Which ones a default schedule wants is known when the first
  // images come; there are never more than the register tiles have widths.
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<const Convolution>> convolutions_;
};

}  // namespace loopwright
