#include "layer.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

#include "description.h"
#include "loopwright/activation.h"
#include "loopwright/attention.h"
#include "loopwright/conv2d.h"
#include "loopwright/conv2d_chain.h"
#include "loopwright/dense.h"
#include "loopwright/pooling.h"
#include "loopwright/rowwise.h"

namespace loopwright {
namespace {

const float* read(const DLTensor* tensor) {
  return reinterpret_cast<const float*>(static_cast<const char*>(tensor->data) + tensor->byte_offset);
}

float* written(const DLTensor* tensor) { return const_cast<float*>(read(tensor)); }

// Throws where a size that must be there is 0.
Shape positive(const char* key, const Shape& sizes) {
  if (std::any_of(sizes.begin(), sizes.end(), [](int64_t size) { return size < 1; }))
    throw std::invalid_argument(std::string(key) + " must be sizes of at least 1");
  return sizes;
}

std::vector<Shape> with_residual(Shape x, bool residual, Shape out) {
  std::vector<Shape> shapes{std::move(x)};
  if (residual) shapes.push_back(out);
  shapes.push_back(std::move(out));
  return shapes;
}

DenseSchedule dense_schedule(const Machine& machine, int64_t m, int64_t n, int64_t k, bool fast) {
  constexpr int kAny = 0;
  return default_dense_schedule(machine.isa, Dtype::kFloat32, m, n, k, machine.threads, kAny, fast);
}

class DenseLayer final : public Layer {
 public:
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine) {
    const auto [m, n, k] = d.sizes<3>("sizes");
    positive("sizes", {m, n, k});
    const bool residual = d.flag("residual");
    std::optional<DenseSchedule> schedule;
    if (const auto values = d.schedule()) {
      schedule = parse_dense_schedule(*values);
    } else if (machine.isa != Isa::kReference) {
      const bool fast = d.flag("fast_algorithms");
      schedule = dense_schedule(machine, m, n, k, fast);
    }
    const Matrix weight{const_cast<float*>(d.weight("weight", {n, k})), k, Dtype::kFloat32};
    auto op = std::make_unique<Dense>(weight, n, k, d.optional_weight("bias", {n}),
                                      parse_activation(d.optional_text("activation")), machine.isa, machine.threads,
                                      schedule);
    return std::unique_ptr<const Layer>(new DenseLayer(with_residual({m, k}, residual, {m, n}), std::move(op)));
  }

  void run(const DLTensor* const* tensors) const override {
    const int64_t m = shapes().front()[0];
    const bool residual = shapes().size() == 3;
    op_->run(matrix(tensors[0], op_->k()), m, matrix(tensors[residual ? 2 : 1], op_->n()),
             residual ? matrix(tensors[1], op_->n()) : Matrix{nullptr, 0});
  }
  ScheduleValues schedule() const override { return to_values(op_->schedule(shapes().front()[0])); }

 private:
  DenseLayer(std::vector<Shape> shapes, std::unique_ptr<const Dense> op)
      : Layer(std::move(shapes)), op_(std::move(op)) {}
  static Matrix matrix(const DLTensor* tensor, int64_t columns) { return {written(tensor), columns, Dtype::kFloat32}; }

  std::unique_ptr<const Dense> op_;
};

// What a convolution's description says of it, on images of its own.
struct Convolved {
  Images images;
  Conv2dGeometry geometry;
  bool residual;
  Activation activation;

  explicit Convolved(const Description& d) : geometry{}, activation(parse_activation(d.optional_text("activation"))) {
    const auto [n, h, w, c] = d.sizes<4>("x");
    const auto [o, group_c, kh, kw] = d.sizes<4>("weight_shape");
    Conv2dGeometry& g = geometry;
    g.groups = d.integer("groups");
    std::tie(g.stride_h, g.stride_w) = std::tuple_cat(d.sizes<2>("stride"));
    std::tie(g.dilation_h, g.dilation_w) = std::tuple_cat(d.sizes<2>("dilation"));
    std::tie(g.pad_top, g.pad_left, g.pad_bottom, g.pad_right) = std::tuple_cat(d.sizes<4>("padding"));
    positive("sizes", {n, h, w, c, o, group_c, kh, kw, g.groups, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w});
    std::tie(g.c, g.o, g.kh, g.kw) = std::tuple(c, o, kh, kw);
    images = {n, h, w};
    residual = d.flag("residual");
    if (g.groups * group_c != c || o % g.groups != 0 || g.output_h(h) < 1 || g.output_w(w) < 1)
      throw std::invalid_argument("x, weight_shape, groups and padding must fit each other");
  }

  Shape x() const { return {images.n, images.h, images.w, geometry.c}; }
  Shape out() const { return {images.n, geometry.output_h(images.h), geometry.output_w(images.w), geometry.o}; }
  Shape weight() const { return {geometry.o, geometry.group_c(), geometry.kh, geometry.kw}; }
};

class Conv2dLayer final : public Layer {
 public:
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine) {
    const Convolved c(d);
    auto op = std::make_unique<Conv2d>(d.weight("weight", c.weight()), Dtype::kFloat32, c.geometry,
                                       d.optional_weight("bias", {c.geometry.o}), c.activation, machine.isa,
                                       machine.threads, schedule_for(d, c.geometry, c.images, machine));
    return std::unique_ptr<const Layer>(
        new Conv2dLayer(with_residual(c.x(), c.residual, c.out()), c.images, std::move(op)));
  }

  void run(const DLTensor* const* tensors) const override {
    const bool residual = shapes().size() == 3;
    op_->run(read(tensors[0]), images_, written(tensors[residual ? 2 : 1]), Dtype::kFloat32,
             residual ? read(tensors[1]) : nullptr);
  }
  ScheduleValues schedule() const override { return to_values(op_->schedule(images_)); }

 private:
  Conv2dLayer(std::vector<Shape> shapes, const Images& images, std::unique_ptr<const Conv2d> op)
      : Layer(std::move(shapes)), images_(images), op_(std::move(op)) {}

  // Decided here even where the description leaves it open: weights are then packed once, and now.
  static std::optional<Conv2d::Schedule> schedule_for(const Description& d, const Conv2dGeometry& g,
                                                      const Images& images, const Machine& machine) {
    const auto [isa, threads] = machine;
    if (const auto values = d.schedule()) return parse_conv2d_schedule(g, Dtype::kFloat32, *values);
    if (isa == Isa::kReference) return std::nullopt;
    if (g.pointwise())
      return dense_schedule(machine, images.n * images.h * images.w, g.o, g.c, d.flag("fast_algorithms"));
    if (g.depthwise()) return default_depthwise_schedule(isa, g, images, threads);
    return default_conv2d_schedule(isa, Dtype::kFloat32, g, images, threads, d.flag("fast_algorithms"));
  }

  Images images_;
  std::unique_ptr<const Conv2d> op_;
};

class Conv2dChainLayer final : public Layer {
 public:
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine) {
    std::vector<Conv2dChain::Stage> stages;
    std::vector<Convolved> convolved;
    for (const Description& stage : d.objects("stages")) {
      const Convolved& c = convolved.emplace_back(stage);
      const std::string place = std::to_string(stages.size());
      stages.push_back({c.geometry, d.weight(("weight" + place).c_str(), c.weight()),
                        d.optional_weight(("bias" + place).c_str(), {c.geometry.o}), c.activation});
    }
    if (convolved.empty()) throw std::invalid_argument("stages must be at least one");
    for (size_t i = 0; i + 1 < convolved.size(); ++i)
      if (convolved[i].out() != convolved[i + 1].x() || convolved[i].residual)
        throw std::invalid_argument("stages must fit each other, and only the last may have a residual");
    std::optional<int64_t> rows;
    if (const auto values = d.schedule()) rows = parse_chain_rows(*values);
    auto op = std::make_unique<Conv2dChain>(stages, convolved.front().images, machine.isa, machine.threads, rows);
    const Convolved& last = convolved.back();
    return std::unique_ptr<const Layer>(
        new Conv2dChainLayer(with_residual(convolved.front().x(), last.residual, last.out()), std::move(op)));
  }

  void run(const DLTensor* const* tensors) const override {
    const bool residual = shapes().size() == 3;
    op_->run(read(tensors[0]), written(tensors[residual ? 2 : 1]), residual ? read(tensors[1]) : nullptr);
  }
  ScheduleValues schedule() const override { return chain_values(op_->rows()); }

 private:
  Conv2dChainLayer(std::vector<Shape> shapes, std::unique_ptr<const Conv2dChain> op)
      : Layer(std::move(shapes)), op_(std::move(op)) {}

  std::unique_ptr<const Conv2dChain> op_;
};

class AttentionLayer final : public Layer {
 public:
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine) {
    const auto [batch, heads, queries, keys, head_dim] = d.sizes<5>("sizes");
    positive("sizes", {batch, heads, queries, keys, head_dim});
    const auto array = [&, b = batch, h = heads, e = head_dim](const char* layout, int64_t rows) {
      return Array(d.text(layout), b, h, rows, e);
    };
    const Array q = array("q", queries), k = array("k", keys), v = array("v", keys), out = array("out", queries);
    std::vector<Shape> shapes{q.shape, k.shape, v.shape};
    Rows<const float> mask{};
    if (!d.is_null("mask")) {
      const auto sizes = d.sizes<4>("mask");
      const std::array<int64_t, 4> whole{batch, heads, queries, keys};
      for (size_t i = 0; i < 4; ++i)
        if (sizes[i] != whole[i] && (sizes[i] != 1 || i == 3))
          throw std::invalid_argument("mask must broadcast to (batch, heads, queries, keys), its last axis whole");
      shapes.emplace_back(sizes.begin(), sizes.end());
      // A stride of 0 reads the same again.
      mask.row_stride = sizes[2] == 1 ? 0 : keys;
      mask.head_stride = sizes[1] == 1 ? 0 : sizes[2] * keys;
      mask.batch_stride = sizes[0] == 1 ? 0 : sizes[1] * sizes[2] * keys;
    }
    shapes.push_back(out.shape);
    std::optional<AttentionSchedule> schedule;
    if (const auto values = d.schedule()) schedule = parse_attention_schedule(*values);
    auto op = std::make_unique<Attention>(heads, head_dim, static_cast<float>(d.number("scale")), machine.isa,
                                          machine.threads, schedule);
    return std::unique_ptr<const Layer>(new AttentionLayer(std::move(shapes), {batch, heads, queries, keys, head_dim},
                                                           q.rows, k.rows, v.rows, mask, out.rows, std::move(op)));
  }

  void run(const DLTensor* const* tensors) const override {
    AttentionInputs inputs{q_, k_, v_, mask_};
    inputs.q.data = read(tensors[0]);
    inputs.k.data = read(tensors[1]);
    inputs.v.data = read(tensors[2]);
    const bool masked = shapes().size() == 5;
    if (masked) inputs.mask.data = read(tensors[3]);
    Rows<float> out{written(tensors[masked ? 4 : 3]), out_.batch_stride, out_.row_stride, out_.head_stride};
    op_->run(shape_.batch, shape_.queries, shape_.keys, inputs, out);
  }
  ScheduleValues schedule() const override {
    return to_values(op_->schedule(shape_.batch, shape_.queries, shape_.keys));
  }

 private:
  // "tokens": (batch, rows, heads, head_dim); "heads": (batch, heads, rows, head_dim).
  struct Array {
    Shape shape;
    Rows<const float> rows;

    Array(const std::string& layout, int64_t batch, int64_t heads, int64_t count, int64_t head_dim) {
      const int64_t image = heads * count * head_dim;
      if (layout == "tokens") {
        shape = {batch, count, heads, head_dim};
        rows = {nullptr, image, heads * head_dim, head_dim};
      } else if (layout == "heads") {
        shape = {batch, heads, count, head_dim};
        rows = {nullptr, image, head_dim, count * head_dim};
      } else {
        throw std::invalid_argument("a layout must be tokens or heads, got " + layout);
      }
    }
  };

  AttentionLayer(std::vector<Shape> shapes, const AttentionShape& shape, Rows<const float> q, Rows<const float> k,
                 Rows<const float> v, Rows<const float> mask, Rows<const float> out,
                 std::unique_ptr<const Attention> op)
      : Layer(std::move(shapes)), shape_(shape), q_(q), k_(k), v_(v), mask_(mask), out_(out), op_(std::move(op)) {}

  AttentionShape shape_;
  Rows<const float> q_, k_, v_, mask_, out_;  // strides; the data comes with each run
  std::unique_ptr<const Attention> op_;
};

class PoolLayer final : public Layer {
 public:
  template <Pooling kPooling>
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine) {
    const auto [n, h, w, c] = d.sizes<4>("x");
    PoolGeometry g{};
    std::tie(g.h.kernel, g.w.kernel) = std::tuple_cat(d.sizes<2>("kernel"));
    std::tie(g.h.stride, g.w.stride) = std::tuple_cat(d.sizes<2>("stride"));
    std::tie(g.h.dilation, g.w.dilation) = std::tuple_cat(d.sizes<2>("dilation"));
    std::tie(g.h.pad_begin, g.w.pad_begin, g.h.pad_end, g.w.pad_end) = std::tuple_cat(d.sizes<4>("padding"));
    g.ceil_mode = d.flag("ceil_mode");
    positive("sizes", {n, h, w, c, g.h.kernel, g.w.kernel, g.h.stride, g.w.stride, g.h.dilation, g.w.dilation});
    for (const PoolAxis* axis : {&g.h, &g.w})
      if (std::max(axis->pad_begin, axis->pad_end) >= axis->span())
        throw std::invalid_argument("padding must be smaller than the kernel");
    const int64_t oh = g.h.output(h, g.ceil_mode), ow = g.w.output(w, g.ceil_mode);
    if (oh < 1 || ow < 1) throw std::invalid_argument("x must have images as large as the kernel");
    return std::unique_ptr<const Layer>(
        new PoolLayer({{n, h, w, c}, {n, oh, ow, c}}, kPooling, g, Images{n, h, w}, c, machine));
  }

  void run(const DLTensor* const* tensors) const override {
    pool2d(pooling_, geometry_, read(tensors[0]), images_, channels_, written(tensors[1]), machine_.isa,
           machine_.threads);
  }

 private:
  PoolLayer(std::vector<Shape> shapes, Pooling pooling, const PoolGeometry& geometry, const Images& images,
            int64_t channels, const Machine& machine)
      : Layer(std::move(shapes)),
        pooling_(pooling),
        geometry_(geometry),
        images_(images),
        channels_(channels),
        machine_(machine) {}

  Pooling pooling_;
  PoolGeometry geometry_;
  Images images_;
  int64_t channels_;
  Machine machine_;
};

class SoftmaxLayer final : public Layer {
 public:
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine) {
    const auto [rows, n] = d.sizes<2>("sizes");
    return std::unique_ptr<const Layer>(new SoftmaxLayer(positive("sizes", {rows, n}), machine));
  }

  void run(const DLTensor* const* tensors) const override {
    const Shape& x = shapes().front();
    softmax(read(tensors[0]), written(tensors[1]), x[0], x[1], machine_.isa, machine_.threads);
  }

 private:
  SoftmaxLayer(const Shape& shape, const Machine& machine) : Layer({shape, shape}), machine_(machine) {}

  Machine machine_;
};

class LayerNormLayer final : public Layer {
 public:
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine) {
    const auto [rows, n] = d.sizes<2>("sizes");
    positive("sizes", {rows, n});
    const float* gamma = d.weight("gamma", {n});
    const float* beta = d.weight("beta", {n});
    return std::unique_ptr<const Layer>(new LayerNormLayer({rows, n}, std::vector<float>(gamma, gamma + n),
                                                           std::vector<float>(beta, beta + n),
                                                           static_cast<float>(d.number("epsilon")), machine));
  }

  void run(const DLTensor* const* tensors) const override {
    const Shape& x = shapes().front();
    layer_norm({read(tensors[0]), nullptr, gamma_.data(), beta_.data(), written(tensors[1]), x[0], x[1], epsilon_},
               machine_.isa, machine_.threads);
  }

 private:
  LayerNormLayer(const Shape& shape, std::vector<float> gamma, std::vector<float> beta, float epsilon,
                 const Machine& machine)
      : Layer({shape, shape}), gamma_(std::move(gamma)), beta_(std::move(beta)), epsilon_(epsilon), machine_(machine) {}

  std::vector<float> gamma_, beta_;
  float epsilon_;
  Machine machine_;
};

using Maker = std::unique_ptr<const Layer> (*)(const Description&, const Machine&);

// By the entry "op" of a description.
const std::map<std::string, Maker> kMakers = {
    {"attention", &AttentionLayer::make},
    {"avg_pool2d", &PoolLayer::make<Pooling::kAverage>},
    {"avg_pool2d_with_pads", &PoolLayer::make<Pooling::kAverageWithPads>},
    {"conv2d", &Conv2dLayer::make},
    {"conv2d_chain", &Conv2dChainLayer::make},
    {"dense", &DenseLayer::make},
    {"layer_norm", &LayerNormLayer::make},
    {"max_pool2d", &PoolLayer::make<Pooling::kMax>},
    {"softmax", &SoftmaxLayer::make},
};

}  // namespace

std::unique_ptr<const Layer> make_layer(const tvm::ffi::json::Object& entries,
                                        const tvm::ffi::Array<tvm::ffi::Tensor>& weights, const Machine& machine) {
  const Description description(entries, weights);
  const std::string op = description.text("op");
  const int64_t threads = description.integer("threads");
  if (threads < 1 || threads > machine.threads)
    throw std::invalid_argument("threads must be between 1 and the model's " + std::to_string(machine.threads));
  const auto maker = kMakers.find(op);
  if (maker != kMakers.end()) return maker->second(description, {machine.isa, static_cast<int>(threads)});
  std::string known;
  for (const auto& entry : kMakers) known += (known.empty() ? "" : ", ") + entry.first;
  throw std::invalid_argument("unknown op '" + op + "'; there are: " + known);
}

}  // namespace loopwright
