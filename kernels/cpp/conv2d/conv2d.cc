#include "loopwright/conv2d.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "convolution.h"
#include "loopwright/schedule_checks.h"
#include "loopwright/split.h"

namespace loopwright {
namespace {

using Algorithm = Conv2dSchedule::Algorithm;

void check(const Conv2dSchedule& s, const Conv2dGeometry& g, Isa isa, Dtype dtype, int threads) {
  check_register_tile(f32_kernels(isa, dtype), s.mr, s.nr, isa);
  if (s.rows < 1 || s.kc < 1 || s.prefetch < 0)
    throw std::invalid_argument("schedule: rows and kc must be at least 1, prefetch at least 0");
  check_threads_m(s.threads_m, threads);
  if (!applies(s.algorithm, g, dtype))
    throw std::invalid_argument(
        "schedule: in float32 without dilation and groups, winograd2 and winograd4 are for 3x3 kernels of stride 1 and "
        "winograd3 for 7x7 kernels of stride 2");
}

// The schedule as one of type S. Throws where it is of another operator's.
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

Conv2d::Conv2d(const void* weight, Dtype dtype, const Conv2dGeometry& geometry, const float* bias,
               Activation activation, Isa isa, int threads, const std::optional<Schedule>& schedule)
    : geometry_(geometry), activation_(activation), isa_(isa), dtype_(dtype), threads_(threads) {
  check_dtype(dtype, isa);
  if (geometry.pointwise()) {
    const auto dense =
        schedule_of_kind<DenseSchedule>(schedule, "a 1x1 convolution is a dense layer and takes the schedule of one");
    // The layer only reads through the pointer.
    const Matrix rows{const_cast<void*>(weight), geometry.c, dtype};
    dense_ = std::make_unique<Dense>(rows, geometry.o, geometry.c, bias, activation, isa, threads, dense);
    return;
  }
  if (geometry.depthwise() && dtype == Dtype::kFloat32) {
    const auto depthwise = schedule_of_kind<DepthwiseSchedule>(
        schedule, "a depthwise convolution in float32 has columns, channels and threads_m");
    depthwise_ = std::make_unique<DepthwiseConv2d>(static_cast<const float*>(weight), geometry, bias, activation, isa,
                                                   threads, depthwise);
    return;
  }
  const auto fixed = schedule_of_kind<Conv2dSchedule>(
      schedule,
      "that of a dense layer is for 1x1 convolutions without stride and padding, that of a depthwise one for "
      "a group a channel in float32");
  weight_ = channels_last(weight, dtype, geometry);
  if (bias) {
    bias_ = make_weight_buffer(geometry.o + F32Kernels::kMaxVectors * f32_kernels(isa).lanes);
    std::memcpy(bias_.get(), bias, static_cast<size_t>(geometry.o) * sizeof(float));
  }
  if (fixed && isa != Isa::kReference) {
    fixed_ = fixed;
    check(*fixed_, geometry, isa, dtype, threads);
    convolutions_.push_back(make(*fixed_));
    weight_.reset();
  }
}

Conv2d::~Conv2d() = default;

std::unique_ptr<const Convolution> Conv2d::make(const Conv2dSchedule& s) const {
  const ConvolutionLayer layer{geometry_, weight_.get(), bias_.get(), activation_, isa_, dtype_, threads_};
  if (isa_ == Isa::kReference) return make_reference_convolution(layer);
  if (s.algorithm == Algorithm::kDirect) return make_direct_convolution(layer, s.nr);
  return make_winograd_convolution(layer, s.algorithm, s.nr);
}

const Convolution& Conv2d::convolution(const Conv2dSchedule& s) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& c : convolutions_)
    if (c->algorithm == s.algorithm && c->nr == s.nr) return *c;
  convolutions_.push_back(make(s));
  return *convolutions_.back();
}

Conv2d::Schedule Conv2d::schedule(const Images& images) const {
  if (dense_) return dense_->schedule(images.n * images.h * images.w);
  if (depthwise_) return depthwise_->schedule(images);
  return fixed_ ? *fixed_ : default_conv2d_schedule(isa_, dtype_, geometry_, images, threads_);
}

void Conv2d::run(const void* x, const Images& images, void* out, Dtype out_dtype, const void* residual) const {
  if (depthwise_)
    return depthwise_->run(static_cast<const float*>(x), images, static_cast<float*>(out),
                           static_cast<const float*>(residual));
  const Matrix in{const_cast<void*>(x), geometry_.c, dtype_}, added{const_cast<void*>(residual), geometry_.o, dtype_};
  const Matrix to{out, geometry_.o, out_dtype};
  if (dense_) return dense_->run(in, images.n * images.h * images.w, to, added);
  const auto s = std::get<Conv2dSchedule>(schedule(images));
  convolution(s).run(s, in, images, to, added);
}

void Conv2d::run_rows(const float* x, const Images& images, int64_t begin, int64_t end, float* out,
                      const float* residual) const {
  if (depthwise_) return depthwise_->run_rows(x, images, begin, end, out, residual);
  const Matrix in{const_cast<float*>(x), geometry_.c, dtype_}, to{out, geometry_.o, dtype_};
  const Matrix added{const_cast<float*>(residual), geometry_.o, dtype_};
  if (dense_) {
    const auto from = [&](const Matrix& m) {
      return Matrix{m.data ? m.address(begin * images.w, 0) : nullptr, m.stride, m.dtype};
    };
    return dense_->run(from(in), (end - begin) * images.w, from(to), from(added));
  }
  const auto s = std::get<Conv2dSchedule>(schedule(images));
  convolution(s).run_rows(s, in, images, begin, end, to, added);
}

void Conv2d::evict_weights(const Images& images) const {
  if (dense_) return dense_->evict_weights();
  if (depthwise_) return depthwise_->evict_weights();
  convolution(std::get<Conv2dSchedule>(schedule(images))).evict_weights();
}

}  // namespace loopwright
