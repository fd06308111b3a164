// conv2d: weights weight, bias (optional); convolution.h has the attributes.
#include "loopwright/conv2d.h"
#include "convolution.h"
#include "make.h"

namespace loopwright {
namespace {

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

  // Selects a schedule here even if the description has none, so that weights are packed once, on construction.
  static std::optional<Conv2d::Schedule> schedule_for(const Description& d, const Conv2dGeometry& g,
                                                      const Images& images, const Machine& machine) {
    const auto [isa, threads] = machine;
    if (const auto values = d.schedule()) return parse_conv2d_schedule(g, Dtype::kFloat32, *values);
    if (isa == Isa::kReference) return std::nullopt;
    return default_conv2d_schedule(isa, Dtype::kFloat32, g, images, threads, d.flag("fast_algorithms"));
  }

  Images images_;
  std::unique_ptr<const Conv2d> op_;
};

}  // namespace

std::unique_ptr<const Layer> make_conv2d(const Description& description, const Machine& machine) {
  return Conv2dLayer::make(description, machine);
}

}  // namespace loopwright
