// Depthwise convolution of 8-bit integers. Usual kernels read and write integers (microkernels/integer_depthwise.h) where the ISA
// has functions for them. Otherwise the sums of products are computed in float32, where they are exact, by the kernels of DepthwiseConvolution.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/split.h"
#include "depthwise/depthwise.h"
#include "gemm/epilogue.h"
#include "gemm/layer_constants.h"
#include "loopwright/matrix.h"

namespace loopwright {

// The largest number of taps: sums of products of an unsigned and a signed integer of 8 bits must stay below 2^24.
constexpr int64_t kMostIntegerTaps = (1 << 24) / (255 * 128);

struct IntegerDepthwiseWeights {
  std::shared_ptr<const DepthwiseWeights> sums;  // the integers as floats, without an epilogue
  LayerConstants constants;                      // with a readable vector after n floats
  // For rows of integers, in their order; null without them.
  struct InPlaces {
    int64_t channels;  // padded
    Buffer words, scales, bias, slopes;
    std::vector<int32_t> weight_sums;
  };
  std::optional<InPlaces> in_places;

  // weight (c, 1, kh, kw). Copies it and the epilogue.
  IntegerDepthwiseWeights(const int8_t* weight, const Conv2dGeometry& geometry, const LayerEpilogue& epilogue, Isa isa);
};

class IntegerDepthwise {
 public:
  // As of DepthwiseConvolution. The geometry has at most kMostIntegerTaps taps.
  IntegerDepthwise(std::shared_ptr<const IntegerDepthwiseWeights> weights, const Conv2dGeometry& geometry,
                   const Target& target, int threads, const std::optional<DepthwiseSchedule>& schedule);

  // The rows of the matrices are pixels without gaps. The residual has null data if absent.
  void run(const Matrix& x, const Images& images, const Matrix& out, const Matrix& residual) const;

  DepthwiseSchedule schedule(const Images& images) const { return sums({}).schedule(images); }
  void evict_weights() const;

 private:
  struct Call;
  // Returns the convolution that computes the sums, with a schedule if there is no fixed one.
  DepthwiseConvolution sums(const std::optional<DepthwiseSchedule>& schedule) const {
    return {weights_->sums, geometry_, Activation::kNone, target_, threads_, fixed_ ? fixed_ : schedule};
  }
  void run_integers(const Matrix& x, const Images& images, const Matrix& out, const Matrix& residual) const;
  void run_slabs(const Matrix& x, const Images& images, const Matrix& out, const Matrix& residual) const;
  // Computes rows of the output of one image, slab by slab: the rows under a slab become floats, then sums, then the output.
  void run_range(const Call& call, int64_t image, Range rows, float* floats) const;
  // Finishes the sums of rows of one image.
  void finish(const Call& call, int64_t image, Range rows, float* sums) const;

  std::shared_ptr<const IntegerDepthwiseWeights> weights_;
  Conv2dGeometry geometry_;
  const KernelTable& kernels_;                  // of integers
  const IntegerDepthwiseFunctions::Row* rows_;  // by pixels of a tile; null if this kernel has none
  Epilogue epilogue_;
  Target target_;
  int threads_;
  std::optional<DepthwiseSchedule> fixed_;
};

}  // namespace loopwright
