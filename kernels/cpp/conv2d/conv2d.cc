#include <algorithm>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "convolution.h"
#include "core/schedule_checks.h"
#include "core/split.h"
#include "loopwright/machine.h"

namespace loopwright {
namespace {

using Algorithm = Conv2dSchedule::Algorithm;

Conv2dSchedule checked(Conv2dSchedule s, const Conv2dGeometry& g, Isa isa, Dtype dtype, int threads) {
  const KernelTable& kernels = kernel_table(isa, dtype);
  check_register_tile(kernels, s.mr, s.nr, isa, s.algorithm == Algorithm::kDirect);
  check_narrow_tile(kernels, s.nr, s.kc, g.reduction());
  check_integer_sum(dtype, s.kc, g.reduction());
  check_blocks("rows and kc", {s.rows, s.kc});
  if (s.prefetch < 0) throw std::invalid_argument("schedule: prefetch must be at least 0");
  s.threads = checked_split(s.threads, threads);
  if (!applies(s.algorithm, g, isa, dtype))
    throw std::invalid_argument(
        "schedule: in float32 without groups, winograd2 and winograd4 are for 3x3 kernels of stride 1, and winograd3 "
        "is for 7x7 kernels of stride 2 without dilation; winograd2 is for int8, too, on AVX2 and without dilation, "
        "and for bfloat16 with an even number of channels");
  return s;
}

// Returns the schedule as an S. Throws std::invalid_argument if it is of another kind.
template <class S>
std::optional<S> schedule_of_kind(const std::optional<Conv2d::Schedule>& schedule, const char* wanted) {
  if (!schedule) return std::nullopt;
  if (!std::holds_alternative<S>(*schedule)) throw std::invalid_argument(std::string("schedule: ") + wanted);
  return std::get<S>(*schedule);
}

// (o, c, kh, kw) -> (o, kh, kw, words of c)
Buffer channels_last(const void* weight, Dtype dtype, int tile_k, const Conv2dGeometry& g) {
  const int64_t taps = g.kh * g.kw, c = g.group_c(), words = to_words(c, tile_k), bytes = element_bytes(dtype);
  Buffer to = make_buffer(g.o * taps * words);
  std::vector<char> channels(static_cast<size_t>(c * bytes));
  for (int64_t o = 0; o < g.o; ++o)
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t p = 0; p < c; ++p)
        std::memcpy(channels.data() + p * bytes, static_cast<const char*>(weight) + ((o * c + p) * taps + t) * bytes,
                    static_cast<size_t>(bytes));
      copy_to_words(channels.data(), c, dtype, tile_k, to.get() + (o * taps + t) * words);
    }
  return to;
}

}  // namespace

bool applies(Algorithm algorithm, const Conv2dGeometry& g, Isa isa, Dtype dtype) {
  if (algorithm == Algorithm::kDirect) return true;
  const int64_t kernel = algorithm == Algorithm::kWinograd3 ? 7 : 3,
                stride = algorithm == Algorithm::kWinograd3 ? 2 : 1;
  const bool integers = is_integer(dtype) && algorithm == Algorithm::kWinograd2 && !g.dilated() &&
                        g.c <= kMostIntegerWinogradChannels && kernel_table(isa, dtype).integer_winograd.input;
  // Rounded factors lose more digits in the transforms of larger tiles. Words are whole.
  const bool rounded = dtype == Dtype::kBfloat16 && algorithm == Algorithm::kWinograd2 && g.c % 2 == 0;
  return (dtype == Dtype::kFloat32 || rounded || integers) && g.kh == kernel && g.kw == kernel &&
         g.stride_h == stride && g.stride_w == stride && (stride == 1 || !g.dilated()) && g.groups == 1;
}

void PackedConvolution::evict_weights(int threads) const { evict(weight.get(), weight_floats * kWordBytes, threads); }

Conv2dWeights::Conv2dWeights(const void* weight, Dtype dtype, const Conv2dGeometry& geometry,
                             const LayerEpilogue& epilogue, Target target)
    : weight_(weight), dtype_(dtype), geometry_(geometry), epilogue_(epilogue), target_(std::move(target)) {
  check_dtype(dtype, target_);
  check_epilogue(epilogue);
  check_quantization(epilogue.quantization, dtype, geometry.o, geometry.reduction());
}

Conv2dWeights::~Conv2dWeights() = default;

bool Conv2dWeights::alike(const Conv2dGeometry& a, const Conv2dGeometry& b) {
  const auto fields = [](const Conv2dGeometry& g) {
    return std::tuple(g.c, g.o, g.kh, g.kw, g.groups, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w);
  };
  return fields(a) == fields(b);
}

DenseWeights& Conv2dWeights::dense() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!dense_) {
    // It only reads the weight.
    const Matrix rows{const_cast<void*>(weight_), geometry_.c, dtype_};
    dense_ = std::make_unique<DenseWeights>(rows, geometry_.o, geometry_.c, epilogue_, target_);
  }
  return *dense_;
}

std::shared_ptr<const DepthwiseWeights> Conv2dWeights::depthwise() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!depthwise_)
    depthwise_ =
        std::make_shared<const DepthwiseWeights>(static_cast<const float*>(weight_), geometry_, epilogue_, target_);
  return depthwise_;
}

std::shared_ptr<const IntegerDepthwiseWeights> Conv2dWeights::integer_depthwise() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!integer_depthwise_)
    integer_depthwise_ = std::make_shared<const IntegerDepthwiseWeights>(static_cast<const int8_t*>(weight_), geometry_,
                                                                         epilogue_, target_);
  return integer_depthwise_;
}

std::shared_ptr<const PackedConvolution> Conv2dWeights::packed(const Conv2dSchedule& s, int threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& packed : convolutions_)
    if (packed->algorithm == s.algorithm && packed->nr == s.nr) return packed;
  const ConvolutionLayer layer{geometry_, activation(), target_, dtype_, threads};
  const auto pack = [&] {
    const bool direct = s.algorithm == Algorithm::kDirect;
    if (!direct && is_integer(dtype_)) return pack_integer_winograd(layer, static_cast<const int8_t*>(weight_), s.nr);
    const Buffer weight = channels_last(weight_, dtype_, kernel_table(target_, dtype_).tile_k, geometry_);
    if (target_ == Isa::kReference) return pack_reference_convolution(layer, weight.get());
    return direct ? pack_direct_convolution(layer, weight.get(), s.nr)
                  : pack_winograd_convolution(layer, weight.get(), s.algorithm, s.nr);
  };
  auto packed = std::make_shared<PackedConvolution>(pack());
  const int64_t padded = geometry_.o + KernelTable::kMaxVectors * kernel_table(target_).lanes;
  const Matrix rows{const_cast<void*>(weight_), geometry_.reduction(), dtype_};  // only read
  packed->constants = LayerConstants(epilogue_, rows, geometry_.o, geometry_.reduction(), padded);
  return convolutions_.emplace_back(std::move(packed));
}

Conv2d::Schedule Conv2dWeights::schedule(const Conv2dGeometry& g, const Images& images, int threads,
                                         bool fast_algorithms) {
  if (g.pointwise()) return dense().schedule(images.n * images.h * images.w, threads, fast_algorithms);
  return default_conv2d_schedule(target_, dtype_, g, images, threads, fast_algorithms);
}

struct Conv2d::State {
  // One of the first three if the convolution is pointwise or depthwise; else the others.
  std::optional<Dense> dense;
  std::optional<DepthwiseConvolution> depthwise;
  std::optional<IntegerDepthwise> integer_depthwise;
  // Without a schedule: copies of the weight and the epilogue, from which run() packs what the images of a size need.
  std::vector<char> weight;
  std::vector<float> bias, slopes, scales;
  std::unique_ptr<Conv2dWeights> weights;
  std::mutex mutex;
  std::vector<std::unique_ptr<const Convolution>> convolutions;
  // The latest images with their default schedule, which takes up to 0.1 ms to choose.
  std::optional<std::pair<Images, Conv2dSchedule>> latest;
};

Conv2d::Conv2d(Conv2dWeights& weights, const Conv2dGeometry& geometry, int threads,
               const std::optional<Schedule>& schedule)
    : geometry_(geometry),
      activation_(weights.activation()),
      target_(weights.target_),
      dtype_(weights.dtype_),
      dtypes_(weights.dtypes()),
      threads_(threads),
      state_(std::make_unique<State>()) {
  if (!schedule && target_ != Isa::kReference)
    throw std::invalid_argument("a convolution that shares its weights must have a schedule");
  select(weights, schedule);
  if (!special() && !fixed_) state_->convolutions.push_back(make(weights, Conv2dSchedule{}));  // kReference
}

Conv2d::Conv2d(const void* weight, Dtype dtype, const Conv2dGeometry& geometry, const LayerEpilogue& epilogue,
               Target target, int threads, const std::optional<Schedule>& schedule)
    : geometry_(geometry),
      activation_(epilogue.activation),
      target_(std::move(target)),
      dtype_(dtype),
      dtypes_(dtype, epilogue.quantization),
      threads_(threads),
      state_(std::make_unique<State>()) {
  Conv2dWeights weights(weight, dtype, geometry, epilogue, target_);
  select(weights, schedule);
  if (special() || fixed_) return;
  const auto* bytes = static_cast<const char*>(weight);
  state_->weight.assign(bytes, bytes + geometry.o * geometry.reduction() * element_bytes(dtype));
  const auto kept = [&](const float* from, std::vector<float>& copy) {
    if (from) copy.assign(from, from + geometry.o);
    return from ? copy.data() : nullptr;
  };
  LayerEpilogue own = epilogue;
  own.bias = kept(epilogue.bias, state_->bias);
  own.slopes = kept(epilogue.slopes, state_->slopes);
  own.quantization.weight_scales = kept(epilogue.quantization.weight_scales, state_->scales);
  state_->weights = std::make_unique<Conv2dWeights>(state_->weight.data(), dtype, geometry, own, target_);
}

Conv2d::~Conv2d() = default;

// Makes what computes this convolution, unless run() must select it for each size of images.
void Conv2d::select(Conv2dWeights& weights, const std::optional<Schedule>& schedule) {
  if (geometry_.pointwise()) {
    const auto dense =
        schedule_of_kind<DenseSchedule>(schedule, "a 1x1 convolution is a dense layer and takes the schedule of one");
    state_->dense.emplace(weights.dense(), threads_, dense);
    return;
  }
  if (is_depthwise(geometry_, dtype_)) {
    const bool integers = is_integer(dtype_);
    if (integers && target_ == Isa::kReference) return;  // plain loops, which ignore the schedule
    const auto depthwise =
        schedule_of_kind<DepthwiseSchedule>(schedule, "a depthwise convolution has columns, channels and threads");
    if (integers) {
      state_->integer_depthwise.emplace(weights.integer_depthwise(), geometry_, target_, threads_, depthwise);
    } else {
      state_->depthwise.emplace(weights.depthwise(), geometry_, activation_, target_, threads_, depthwise);
    }
    return;
  }
  const auto fixed = schedule_of_kind<Conv2dSchedule>(
      schedule,
      "that of a dense layer is for 1x1 convolutions without stride and padding, that of a depthwise one for "
      "a group a channel");
  if (!fixed || target_ == Isa::kReference) return;
  fixed_ = checked(*fixed, geometry_, target_, dtype_, threads_);
  state_->convolutions.push_back(make(weights, *fixed_));
}

bool Conv2d::takes_bfloat16() const { return state_->depthwise && target_ != Isa::kReference; }

bool Conv2d::special() const { return state_->dense || state_->depthwise || state_->integer_depthwise; }

std::unique_ptr<const Convolution> Conv2d::make(Conv2dWeights& weights, const Conv2dSchedule& s) const {
  const ConvolutionLayer layer{geometry_, activation_, target_, dtype_, threads_};
  auto packed = weights.packed(s, threads_);
  if (target_ == Isa::kReference) return make_reference_convolution(layer, std::move(packed));
  if (s.algorithm == Algorithm::kDirect) return make_direct_convolution(layer, std::move(packed));
  if (is_integer(dtype_)) return make_integer_winograd(layer, std::move(packed));
  return make_winograd_convolution(layer, std::move(packed));
}

const Convolution& Conv2d::convolution(const Conv2dSchedule& s) const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  for (const auto& c : state_->convolutions)
    if (c->packed().algorithm == s.algorithm && c->packed().nr == s.nr) return *c;
  state_->convolutions.push_back(make(*state_->weights, s));
  return *state_->convolutions.back();
}

Conv2d::Schedule Conv2d::schedule(const Images& images) const {
  if (state_->dense) return state_->dense->schedule(images.n * images.h * images.w);
  if (state_->depthwise) return state_->depthwise->schedule(images);
  if (state_->integer_depthwise) return state_->integer_depthwise->schedule(images);
  if (fixed_) return *fixed_;
  const std::lock_guard<std::mutex> lock(state_->mutex);
  if (!state_->latest || !(state_->latest->first == images))
    state_->latest = {
        images, default_convolution_schedule(target_, dtype_, geometry_, images, threads_, dtype_ != Dtype::kBfloat16)};
  return state_->latest->second;
}

void Conv2d::run(const void* x, Dtype x_dtype, const Images& images, void* out, Dtype out_dtype, const void* residual,
                 Dtype residual_dtype) const {
  const Matrix in{const_cast<void*>(x), geometry_.c, x_dtype};
  const Matrix added{const_cast<void*>(residual), geometry_.o, residual_dtype};
  const Matrix to{out, geometry_.o, out_dtype};
  if (state_->dense) return state_->dense->run(in, images.n * images.h * images.w, to, added);
  if (state_->depthwise) return state_->depthwise->run(in, images, to, added);
  if (state_->integer_depthwise) return state_->integer_depthwise->run(in, images, to, added);
  const auto s = std::get<Conv2dSchedule>(schedule(images));
  convolution(s).run(s, in, images, to, added);
}

void Conv2d::run_rows(const Matrix& in, const Images& images, int64_t begin, int64_t end, const Matrix& to,
                      const Matrix& added) const {
  if (state_->depthwise) return state_->depthwise->run_rows(in, images, begin, end, to, added);
  if (state_->dense) {
    const auto from = [&](const Matrix& m) {
      return Matrix{m.data ? m.address(begin * images.w, 0) : nullptr, m.stride, m.dtype};
    };
    return state_->dense->run(from(in), (end - begin) * images.w, from(to), from(added));
  }
  const auto s = std::get<Conv2dSchedule>(schedule(images));
  convolution(s).run_rows(s, in, images, begin, end, to, added);
}

void Conv2d::evict_weights(const Images& images) const {
  if (state_->dense) return state_->dense->evict_weights();
  if (state_->depthwise) return state_->depthwise->evict_weights();
  if (state_->integer_depthwise) return state_->integer_depthwise->evict_weights();
  convolution(std::get<Conv2dSchedule>(schedule(images))).packed().evict_weights(threads_);
}

}  // namespace loopwright
