// One algorithm with weights packed for it.
#pragma once

#include <stdexcept>

#include "loopwright/conv2d.h"
#include "loopwright/epilogue.h"
#include "loopwright/panels.h"

namespace loopwright {

// What the algorithms share of a layer. The weight is (o, kh, kw, words of the c / groups channels), the bias null or o
// floats with a vector tile of readable ones behind them; both belong to the caller, the bias for as long as the
// convolution lives. Winograd's algorithm and the reference are for float32 alone.
struct ConvolutionLayer {
  Conv2dGeometry geometry;
  const float* weight;
  const float* bias;
  Activation activation;
  Isa isa;
  Dtype dtype;
  int threads;
};

class Convolution {
 public:
  virtual ~Convolution() = default;
  // `s` has the algorithm and nr that the weights were packed for. Rows of the matrices are pixels, without gaps.
  virtual void run(const Conv2dSchedule& s, const Matrix& x, const Images& images, const Matrix& out,
                   const Matrix& residual) const = 0;
  // As Conv2d::run_rows.
  virtual void run_rows(const Conv2dSchedule&, const Matrix& /*x*/, const Images&, int64_t /*begin*/, int64_t /*end*/,
                        const Matrix& /*out*/, const Matrix& /*residual*/) const {
    throw std::logic_error("this algorithm computes whole images");
  }
  virtual void evict_weights() const {}

  const Conv2dSchedule::Algorithm algorithm;
  const int nr;

 protected:
  Convolution(Conv2dSchedule::Algorithm packed_algorithm, int packed_nr) : algorithm(packed_algorithm), nr(packed_nr) {}
};

std::unique_ptr<const Convolution> make_direct_convolution(const ConvolutionLayer& layer, int nr);
// `algorithm` is one of Winograd's.
std::unique_ptr<const Convolution> make_winograd_convolution(const ConvolutionLayer& layer,
                                                             Conv2dSchedule::Algorithm algorithm, int nr);
// Plain loops, without a schedule.
std::unique_ptr<const Convolution> make_reference_convolution(const ConvolutionLayer& layer);

}  // namespace loopwright
