#include <algorithm>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "convolution.h"
#include "core/schedule_checks.h"
#include "core/split.h"

namespace loopwright {
namespace {

using Algorithm = Conv2dSchedule::Algorithm;

void check(const Conv2dSchedule& s, const Conv2dGeometry& g, Isa isa, Dtype dtype, int threads) {
  check_register_tile(kernel_table(isa, dtype), s.mr, s.nr, isa);
  if (s.rows < 1 || s.kc < 1 || s.prefetch < 0)
    throw std::invalid_argument("schedule: rows and kc must be at least 1, prefetch at least 0");
  check_threads_m(s.threads_m, threads);
  if (!applies(s.algorithm, g, dtype))
    throw std::invalid_argument(
        "schedule: in float32 without dilation and groups, winograd2 and winograd4 are for 3x3 kernels of stride 1 and "
        "winograd3 for 7x7 kernels of stride 2");
}

// Returns the schedule as an S. Throws std::invalid_argument if it is of another kind.
template <class S>
std::optional<S> schedule_of_kind(const std::optional<Conv2d::Schedule>& schedule, const char* wanted) {
  if (!schedule) return std::nullopt;
  if (!std::holds_alternative<S>(*schedule)) throw std::invalid_argument(std::string("schedule: ") + wanted);
  return std::get<S>(*schedule);
}

// (o, c, kh, kw) -> (o, kh, kw, words of c)
Buffer channels_last(const void* weight, Dtype dtype, const Conv2dGeometry& g) {
  const int64_t taps = g.kh * g.kw, c = g.group_c(), words = to_words(c, dtype), bytes = element_bytes(dtype);
  Buffer to = make_buffer(g.o * taps * words);
  for (int64_t o = 0; o < g.o; ++o)
    for (int64_t p = 0; p < c; ++p)
      for (int64_t t = 0; t < taps; ++t)
        std::memcpy(reinterpret_cast<char*>(to.get() + (o * taps + t) * words) + p * bytes,
                    static_cast<const char*>(weight) + ((o * c + p) * taps + t) * bytes, static_cast<size_t>(bytes));
  return to;
}

}  // namespace

bool applies(Algorithm algorithm, const Conv2dGeometry& g, Dtype dtype) {
  if (algorithm == Algorithm::kDirect) return true;
  const int64_t kernel = algorithm == Algorithm::kWinograd3 ? 7 : 3,
                stride = algorithm == Algorithm::kWinograd3 ? 2 : 1;
  return dtype == Dtype::kFloat32 && g.kh == kernel && g.kw == kernel && g.stride_h == stride && g.stride_w == stride &&
         !g.dilated() && g.groups == 1;
}

struct Conv2d::Weights {
  // One of the first two if the convolution is pointwise or depthwise; else the others.
  std::unique_ptr<const Dense> dense;
  std::unique_ptr<const DepthwiseConvolution> depthwise;
  Buffer weight, bias;  // the weight as (o, kh, kw, words); the bias is followed by a vector tile of zeros
  // Packed for an algorithm and a width of panels. A default schedule selects these for the first images of a size. There
  // are never more of them than register tiles have widths.
  std::mutex mutex;
  std::vector<std::unique_ptr<const Convolution>> convolutions;
};

Conv2d::Conv2d(const void* weight, Dtype dtype, const Conv2dGeometry& geometry, const float* bias,
               Activation activation, Isa isa, int threads, const std::optional<Schedule>& schedule)
    : geometry_(geometry),
      activation_(activation),
      isa_(isa),
      dtype_(dtype),
      threads_(threads),
      weights_(std::make_unique<Weights>()) {
  check_dtype(dtype, isa);
  if (geometry.pointwise()) {
    const auto dense =
        schedule_of_kind<DenseSchedule>(schedule, "a 1x1 convolution is a dense layer and takes the schedule of one");
    // The layer only reads the weight.
    const Matrix rows{const_cast<void*>(weight), geometry.c, dtype};
    weights_->dense = std::make_unique<Dense>(rows, geometry.o, geometry.c, bias, activation, isa, threads, dense);
    return;
  }
  if (is_depthwise(geometry, dtype)) {
    const auto depthwise = schedule_of_kind<DepthwiseSchedule>(
        schedule, "a depthwise convolution in float32 has columns, channels and threads_m");
    weights_->depthwise = std::make_unique<DepthwiseConvolution>(static_cast<const float*>(weight), geometry, bias,
                                                                 activation, isa, threads, depthwise);
    return;
  }
  const auto fixed = schedule_of_kind<Conv2dSchedule>(
      schedule,
      "that of a dense layer is for 1x1 convolutions without stride and padding, that of a depthwise one for "
      "a group a channel in float32");
  weights_->weight = channels_last(weight, dtype, geometry);
  if (bias) {
    weights_->bias = make_weight_buffer(geometry.o + KernelTable::kMaxVectors * kernel_table(isa).lanes);
    std::memcpy(weights_->bias.get(), bias, static_cast<size_t>(geometry.o) * sizeof(float));
  }
  if (fixed && isa != Isa::kReference) {
    fixed_ = fixed;
    check(*fixed_, geometry, isa, dtype, threads);
    weights_->convolutions.push_back(make(*fixed_));
    weights_->weight.reset();
  }
}

Conv2d::~Conv2d() = default;

std::unique_ptr<const Convolution> Conv2d::make(const Conv2dSchedule& s) const {
  const ConvolutionLayer layer{geometry_, weights_->weight.get(), weights_->bias.get(), activation_, isa_, dtype_,
                               threads_};
  if (isa_ == Isa::kReference) return make_reference_convolution(layer);
  if (s.algorithm == Algorithm::kDirect) return make_direct_convolution(layer, s.nr);
  return make_winograd_convolution(layer, s.algorithm, s.nr);
}

const Convolution& Conv2d::convolution(const Conv2dSchedule& s) const {
  const std::lock_guard<std::mutex> lock(weights_->mutex);
  for (const auto& c : weights_->convolutions)
    if (c->algorithm == s.algorithm && c->nr == s.nr) return *c;
  weights_->convolutions.push_back(make(s));
  return *weights_->convolutions.back();
}

Conv2d::Schedule Conv2d::schedule(const Images& images) const {
  if (weights_->dense) return weights_->dense->schedule(images.n * images.h * images.w);
  if (weights_->depthwise) return weights_->depthwise->schedule(images);
  return fixed_ ? *fixed_ : default_convolution_schedule(isa_, dtype_, geometry_, images, threads_);
}

void Conv2d::run(const void* x, const Images& images, void* out, Dtype out_dtype, const void* residual) const {
  if (weights_->depthwise)
    return weights_->depthwise->run(static_cast<const float*>(x), images, static_cast<float*>(out),
                                    static_cast<const float*>(residual));
  const Matrix in{const_cast<void*>(x), geometry_.c, dtype_}, added{const_cast<void*>(residual), geometry_.o, dtype_};
  const Matrix to{out, geometry_.o, out_dtype};
  if (weights_->dense) return weights_->dense->run(in, images.n * images.h * images.w, to, added);
  const auto s = std::get<Conv2dSchedule>(schedule(images));
  convolution(s).run(s, in, images, to, added);
}

void Conv2d::run_rows(const float* x, const Images& images, int64_t begin, int64_t end, float* out,
                      const float* residual) const {
  if (weights_->depthwise) return weights_->depthwise->run_rows(x, images, begin, end, out, residual);
  const Matrix in{const_cast<float*>(x), geometry_.c, dtype_}, to{out, geometry_.o, dtype_};
  const Matrix added{const_cast<float*>(residual), geometry_.o, dtype_};
  if (weights_->dense) {
    const auto from = [&](const Matrix& m) {
      return Matrix{m.data ? m.address(begin * images.w, 0) : nullptr, m.stride, m.dtype};
    };
    return weights_->dense->run(from(in), (end - begin) * images.w, from(to), from(added));
  }
  const auto s = std::get<Conv2dSchedule>(schedule(images));
  convolution(s).run_rows(s, in, images, begin, end, to, added);
}

void Conv2d::evict_weights(const Images& images) const {
  if (weights_->dense) return weights_->dense->evict_weights();
  if (weights_->depthwise) return weights_->depthwise->evict_weights();
  convolution(std::get<Conv2dSchedule>(schedule(images))).evict_weights();
}

}  // namespace loopwright
