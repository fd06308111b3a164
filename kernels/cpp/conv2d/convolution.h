// The algorithms of convolutions that are neither pointwise nor depthwise.
#pragma once

#include <memory>
#include <stdexcept>
#include <vector>

#include "core/buffer.h"
#include "core/split.h"
#include "depthwise/depthwise.h"
#include "depthwise/integer_depthwise.h"
#include "gemm/epilogue.h"
#include "gemm/layer_constants.h"
#include "gemm/panels.h"
#include "gemm/words.h"
#include "loopwright/conv2d.h"

namespace loopwright {

// The layer that an algorithm computes.
struct ConvolutionLayer {
  Conv2dGeometry geometry;
  Activation activation;
  Target target;
  Dtype dtype;
  int threads;
};

// The weights of a convolution, packed for an algorithm and a width of panels. Paddings, threads and images may vary.
struct PackedConvolution {
  Conv2dSchedule::Algorithm algorithm;
  int nr;
  std::vector<Panel> panels;  // empty for the reference
  int64_t weight_floats;
  Buffer weight;
  LayerConstants constants = {};  // with a readable vector tile after o floats

  void evict_weights(int threads) const;
};

// An algorithm with its packed weights.
class Convolution {
 public:
  virtual ~Convolution() = default;
  // `s` must have the algorithm and nr that the weights were packed for. The rows of the matrices are pixels without gaps.
  virtual void run(const Conv2dSchedule& s, const Matrix& x, const Images& images, const Matrix& out,
                   const Matrix& residual) const = 0;
  // Like Conv2d::run_rows.
  virtual void run_rows(const Conv2dSchedule&, const Matrix& /*x*/, const Images&, int64_t /*begin*/, int64_t /*end*/,
                        const Matrix& /*out*/, const Matrix& /*residual*/) const {
    throw std::logic_error("this algorithm computes whole images");
  }

  const PackedConvolution& packed() const { return *packed_; }

 protected:
  explicit Convolution(std::shared_ptr<const PackedConvolution> packed) : packed_(std::move(packed)) {}

 private:
  std::shared_ptr<const PackedConvolution> packed_;
};

// Each function packs a weight of (o, kh, kw, words of the c / groups channels), without the constants.
PackedConvolution pack_direct_convolution(const ConvolutionLayer& layer, const float* weight, int nr);
// `algorithm` must be one of Winograd's.
PackedConvolution pack_winograd_convolution(const ConvolutionLayer& layer, const float* weight,
                                            Conv2dSchedule::Algorithm algorithm, int nr);
// The most channels for which its sums fit int32.
constexpr int64_t kMostIntegerWinogradChannels = INT32_MAX / (4 * 9 * 255 * 128);
// F(2×2, 3×3) for int8; the weight is as the layer has it.
PackedConvolution pack_integer_winograd(const ConvolutionLayer& layer, const int8_t* weight, int nr);
PackedConvolution pack_reference_convolution(const ConvolutionLayer& layer, const float* weight);

using SharedPackedConvolution = std::shared_ptr<const PackedConvolution>;
std::unique_ptr<const Convolution> make_direct_convolution(const ConvolutionLayer& layer,
                                                           SharedPackedConvolution packed);
std::unique_ptr<const Convolution> make_winograd_convolution(const ConvolutionLayer& layer,
                                                             SharedPackedConvolution packed);
std::unique_ptr<const Convolution> make_integer_winograd(const ConvolutionLayer& layer, SharedPackedConvolution packed);
// Plain loops that ignore the schedule.
std::unique_ptr<const Convolution> make_reference_convolution(const ConvolutionLayer& layer,
                                                              SharedPackedConvolution packed);

// Whether the depthwise kernels compute this convolution. Those of the reference support float32 alone.
inline bool is_depthwise(const Conv2dGeometry& g, Dtype dtype) {
  return g.depthwise() && (dtype == Dtype::kFloat32 || (is_integer(dtype) && g.kh * g.kw <= kMostIntegerTaps));
}

// Returns the number of tiles of m outputs along an axis of `size` outputs. A tile has every `dilation`-th of them.
inline int64_t winograd_tiles(int64_t size, int64_t dilation, int64_t m) {
  // The first `rest` parts have one output more than the others.
  const int64_t each = size / dilation, rest = size % dilation;
  return rest * ceil_div(each + 1, m) + (dilation - rest) * ceil_div(each, m);
}

// Whether a run, a part of the sum that is contiguous in the image, is an entire kernel row and not one tap.
inline bool runs_are_rows(const Conv2dGeometry& g) { return g.dilation_w == 1 && g.groups == 1; }

// Returns a good schedule of a convolution that is neither pointwise nor depthwise. Winograd's algorithms, which round
// more, are candidates only if they are allowed.
Conv2dSchedule default_convolution_schedule(const Target& target, Dtype dtype, const Conv2dGeometry& g,
                                            const Images& images, int threads, bool winograd_allowed = true);

// Returns the geometry with the words (gemm/words.h) of each group's channels in place of its channels.
inline Conv2dGeometry in_words(Conv2dGeometry g, int tile_k) {
  g.c = g.groups * to_words(g.group_c(), tile_k);
  return g;
}

}  // namespace loopwright
