// conv2d: weights weight, bias and slopes (optional), and scales for int8; convolution.h has the attributes, and make.h those for
// the dtype.
#include "loopwright/conv2d.h"
#include "convolution.h"
#include "make.h"

namespace loopwright {
namespace {

// Whether this CPU computes a layer by a schedule, which may be of another one.
bool has_kernel(Isa isa, Dtype dtype, const Conv2dGeometry& g, const Conv2d::Schedule& schedule) {
  if (const auto* dense = std::get_if<DenseSchedule>(&schedule)) return has_tile(isa, dtype, dense->mr, dense->nr);
  if (const auto* s = std::get_if<Conv2dSchedule>(&schedule))
    return has_tile(isa, dtype, s->mr, s->nr) && (dtype != Dtype::kInt8 || applies(s->algorithm, g, isa, dtype));
  return true;  // a depthwise convolution has no register tile
}

class Conv2dLayer final : public Layer {
 public:
  // `shared` is null for the first layer.
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine,
                                           std::shared_ptr<SharedConv2dWeights> shared = nullptr) {
    const Convolved described(d);
    const bool fast = d.flag("fast_algorithms");
    // Without a schedule, which is for the convolution as described.
    const Convolved c = described.is_column() && d.is_null("schedule") ? described.turned() : described;
    if (shared && !Conv2dWeights::alike(shared->weights.geometry(), c.geometry)) {
      const Convolved other = described.is_column() ? described : described.turned();
      if (Conv2dWeights::alike(shared->weights.geometry(), other.geometry)) shared = nullptr;  // of the other direction
    }
    const bool is_first = !shared;
    if (is_first) shared = std::make_shared<SharedConv2dWeights>(d, c, described, "", machine.target, dtype_of(d));
    shared->check(c);
    // Selects a schedule here even if the description has none, so that weights are packed once, on construction.
    std::optional<Conv2d::Schedule> schedule;
    if (const auto values = d.schedule()) schedule = parse_conv2d_schedule(c.geometry, dtype_of(d), *values);
    if (schedule && !has_kernel(machine.target, dtype_of(d), c.geometry, *schedule)) schedule.reset();
    if (!schedule && machine.target.isa != Isa::kReference)
      schedule = is_first
                     ? default_conv2d_schedule(machine.target, dtype_of(d), c.geometry, c.images, machine.threads, fast)
                     : shared->weights.schedule(c.geometry, c.images, machine.threads, fast);
    auto op = std::make_unique<Conv2d>(shared->weights, c.geometry, machine.threads, schedule);
    return std::unique_ptr<const Layer>(new Conv2dLayer(with_residual(described.x(), c.residual, described.out()),
                                                        c.dtypes(d, machine.target.isa), c.images, std::move(shared),
                                                        std::move(op)));
  }

  void run(const DLTensor* const* tensors) const override {
    const bool residual = shapes().size() == 3;
    op_->run(read(tensors[0]), dtypes_.x(), images_, written(tensors[residual ? 2 : 1]), dtypes_.out(),
             residual ? read(tensors[1]) : nullptr, dtypes_.residual());
  }
  DLDataType dtype(size_t tensor) const override { return dtypes_.of(tensor); }
  ScheduleValues schedule() const override { return to_values(op_->schedule(images_)); }
  std::unique_ptr<const Layer> resized(const Description& d, const Machine& machine) const override {
    return make(d, machine, shared_);
  }

 private:
  Conv2dLayer(std::vector<Shape> shapes, const TensorDtypes& dtypes, const Images& images,
              std::shared_ptr<SharedConv2dWeights> shared, std::unique_ptr<const Conv2d> op)
      : Layer(std::move(shapes)), dtypes_(dtypes), images_(images), shared_(std::move(shared)), op_(std::move(op)) {}

  TensorDtypes dtypes_;
  Images images_;
  std::shared_ptr<SharedConv2dWeights> shared_;
  std::unique_ptr<const Conv2d> op_;
};

}  // namespace

std::unique_ptr<const Layer> make_conv2d(const Description& description, const Machine& machine) {
  return Conv2dLayer::make(description, machine);
}

}  // namespace loopwright
