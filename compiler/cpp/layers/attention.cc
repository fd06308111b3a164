// attention: attributes sizes (batch, heads, queries, keys, head_dim), the layouts q, k, v and out, mask, scale, or_zero, and dtype, of
// the factors of products.
#include <array>

#include "loopwright/attention.h"
#include "make.h"

namespace loopwright {
namespace {

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
          throw std::invalid_argument(
              "mask must broadcast to (batch, heads, queries, keys), and its last axis must be keys");
      shapes.emplace_back(sizes.begin(), sizes.end());
      // A broadcast axis has the stride 0.
      mask.row_stride = sizes[2] == 1 ? 0 : keys;
      mask.head_stride = sizes[1] == 1 ? 0 : sizes[2] * keys;
      mask.batch_stride = sizes[0] == 1 ? 0 : sizes[1] * sizes[2] * keys;
    }
    shapes.push_back(out.shape);
    std::optional<AttentionSchedule> schedule;
    if (const auto values = d.schedule()) {
      schedule = parse_attention_schedule(*values);
    } else if (machine.target.isa != Isa::kReference) {  // once, because a choice takes as long as a small layer
      schedule = default_attention_schedule(machine.target, dtype_of(d), {batch, heads, queries, keys, head_dim},
                                            machine.threads);
    }
    auto op = std::make_unique<Attention>(heads, head_dim, static_cast<float>(d.number("scale")), machine.target,
                                          machine.threads, schedule, d.flag("or_zero"), dtype_of(d));
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

}  // namespace

std::unique_ptr<const Layer> make_attention(const Description& description, const Machine& machine) {
  return AttentionLayer::make(description, machine);
}

}  // namespace loopwright
