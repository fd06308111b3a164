// Two-dimensional convolutions of NHWC images: y = activation(conv2d(x, weight) + bias + residual).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "loopwright/dense.h"
#include "loopwright/depthwise.h"
#include "loopwright/dtype.h"
#include "loopwright/geometry.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/machine_model.h"
#include "loopwright/matrix.h"
#include "loopwright/schedule_values.h"
#include "loopwright/thread_split.h"

namespace loopwright {

// The schedule of a convolution that is neither pointwise nor depthwise. Every legal schedule computes the same result;
// Winograd's algorithms round more.
//
//   threads    rectangles of (output pixels, output channels), one per thread
//   mr × nr    the register tile. Direct: mr pixels of one output row. Winograd: mr tiles.
//   rows       Direct: output rows of an image that all channels pass over before the next rows. Winograd: tiles per
//              pass.
//   kc         Direct: length of a block of the sum. Winograd ignores it and sums over all channels at once.
//   prefetch   prefetch distance of the weights into L1, in bytes; 0 disables it
//   prefetch_next  prefetches the next panel of weights into L2 while the current one is in use
struct Conv2dSchedule {
  enum class Algorithm { kDirect, kWinograd2, kWinograd3, kWinograd4 };
  Algorithm algorithm = Algorithm::kDirect;
  int mr = 1, nr = 1;
  int64_t rows = 1, kc = 1;
  int prefetch = 0;
  bool prefetch_next = false;
  ThreadSplit threads;
};

class Convolution;
struct DepthwiseWeights;
struct IntegerDepthwiseWeights;
struct PackedConvolution;
class Conv2dWeights;

class Conv2d {
 public:
  // A pointwise convolution has a DenseSchedule, a depthwise convolution in float32 or of 8-bit integers with at most 514 taps
  // a DepthwiseSchedule, all others have a Conv2dSchedule.
  using Schedule = std::variant<DenseSchedule, DepthwiseSchedule, Conv2dSchedule>;

  // weight (o, c / groups, kh, kw). Copies it and the epilogue. Throws std::invalid_argument if the ISA lacks the
  // dtype, if the epilogue is not legal, if the schedule is of the wrong kind or has no microkernel, or if its algorithm does
  // not apply to this convolution.
  Conv2d(const void* weight, Dtype dtype, const Conv2dGeometry& geometry, const LayerEpilogue& epilogue, Target target,
         int threads, const std::optional<Schedule>& schedule);
  // A convolution that shares its packed weights. Paddings may differ from those of the other convolutions. Only kReference
  // needs no schedule.
  Conv2d(Conv2dWeights& weights, const Conv2dGeometry& geometry, int threads, const std::optional<Schedule>& schedule);
  ~Conv2d();

  // x (n, h, w, c) -> out (n, oh, ow, o), neither of them empty. Dtypes are as for Dense::run.
  // residual (n, oh, ow, o) is null if absent. It may be `out` itself, but must not overlap it
  // otherwise; `out` must not overlap x. Thread-safe.
  void run(const void* x, Dtype x_dtype, const Images& images, void* out, Dtype out_dtype, const void* residual,
           Dtype residual_dtype) const;

  // Computes rows begin..end - 1 of the output of one image. Reads only the rows of x under their windows. x, out and residual
  // are pixels without gaps and point to where row 0 is or would be. Unsupported by Winograd's algorithms.
  void run_rows(const Matrix& x, const Images& images, int64_t begin, int64_t end, const Matrix& out,
                const Matrix& residual) const;

  // Evicts the packed weights that run() uses for these images from all caches, as the other layers of a network do. For
  // measurements.
  void evict_weights(const Images& images) const;

  const LayerDtypes& dtypes() const { return dtypes_; }
  // Whether x, out and residual may be bfloat16 although the layer computes in float32.
  bool takes_bfloat16() const;
  const Conv2dGeometry& geometry() const { return geometry_; }
  // Returns the schedule that run() uses for these images.
  Schedule schedule(const Images& images) const;

 private:
  struct State;

  void select(Conv2dWeights& weights, const std::optional<Schedule>& schedule);
  // Whether the convolution is pointwise or depthwise, so that another kernel computes it.
  bool special() const;
  std::unique_ptr<const Convolution> make(Conv2dWeights& weights, const Conv2dSchedule& s) const;
  const Convolution& convolution(const Conv2dSchedule& s) const;

  Conv2dGeometry geometry_;
  Activation activation_;
  Target target_;
  Dtype dtype_;
  LayerDtypes dtypes_;
  int threads_;
  std::optional<Conv2dSchedule> fixed_;
  std::unique_ptr<State> state_;
};

// The weights of convolutions that differ only in images, paddings, threads and schedules. Each packed form is made when a
// convolution first needs it, and shared by all that do. Thread-safe.
class Conv2dWeights {
 public:
  // weight (o, c / groups, kh, kw). It and the arrays of the epilogue belong to the caller and must outlive this object, but
  // not its convolutions. Throws std::invalid_argument if the ISA lacks the dtype, or if the epilogue is not
  // legal.
  Conv2dWeights(const void* weight, Dtype dtype, const Conv2dGeometry& geometry, const LayerEpilogue& epilogue,
                Target target);
  Conv2dWeights(const Conv2dWeights&) = delete;
  Conv2dWeights& operator=(const Conv2dWeights&) = delete;
  ~Conv2dWeights();

  // Returns a good schedule. Pointwise convolutions of all images together need only a few packed forms.
  Conv2d::Schedule schedule(const Conv2dGeometry& g, const Images& images, int threads, bool fast_algorithms);

  // Whether convolutions of these two geometries may share weights.
  static bool alike(const Conv2dGeometry& a, const Conv2dGeometry& b);
  const Conv2dGeometry& geometry() const { return geometry_; }
  Activation activation() const { return epilogue_.activation; }
  LayerDtypes dtypes() const { return {dtype_, epilogue_.quantization}; }
  Dtype dtype() const { return dtype_; }

 private:
  friend class Conv2d;
  DenseWeights& dense();
  std::shared_ptr<const DepthwiseWeights> depthwise();
  std::shared_ptr<const IntegerDepthwiseWeights> integer_depthwise();
  std::shared_ptr<const PackedConvolution> packed(const Conv2dSchedule& s, int threads);

  const void* weight_;
  Dtype dtype_;
  Conv2dGeometry geometry_;
  LayerEpilogue epilogue_;
  Target target_;
  std::mutex mutex_;
  std::unique_ptr<DenseWeights> dense_;
  std::shared_ptr<const DepthwiseWeights> depthwise_;
  std::shared_ptr<const IntegerDepthwiseWeights> integer_depthwise_;
  // By algorithm and nr: never more of them than register tiles have widths, for each algorithm.
  std::vector<std::shared_ptr<const PackedConvolution>> convolutions_;
};

// Whether an algorithm computes this convolution. Winograd's algorithms are for float32 without groups: F(2×2, 3×3) and
// F(4×4, 3×3) for 3×3 kernels of stride 1, F(3×3, 4×4) for 7×7 kernels of stride 2 without dilation. F(2×2, 3×3) is also for
// int8 without dilation if its words are pairs of int16.
bool applies(Conv2dSchedule::Algorithm algorithm, const Conv2dGeometry& g, Isa isa, Dtype dtype);

// Returns a good schedule without a search; conv2d/default_schedule.cc has the reasons. `fast_algorithms` allows
// Strassen's and Winograd's algorithms, which round more.
Conv2d::Schedule default_conv2d_schedule(const Target& target, Dtype dtype, const Conv2dGeometry& g,
                                         const Images& images, int threads, bool fast_algorithms);
// Returns the cycles that a convolution with its default schedule takes by the machine model. Throws std::invalid_argument if it
// is pointwise or depthwise, or for kReference.
double default_convolution_cycles(const Target& target, Dtype dtype, const Conv2dGeometry& g, const Images& images,
                                  int threads, bool fast_algorithms);

// Parses a schedule of the kind that this convolution has. Throws std::invalid_argument if an entry is missing or has the
// wrong type. Ignores unknown entries.
Conv2d::Schedule parse_conv2d_schedule(const Conv2dGeometry& g, Dtype dtype, const ScheduleValues& values);
ScheduleValues to_values(const Conv2d::Schedule& s);

}  // namespace loopwright
