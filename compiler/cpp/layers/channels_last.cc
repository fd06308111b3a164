// channels_last: attributes x (n, c, h, w), out_dtype, out_scale and out_zero_point (null: float32).
#include "loopwright/channels_last.h"
#include "make.h"

namespace loopwright {
namespace {

class ChannelsLastLayer final : public Layer {
 public:
  ChannelsLastLayer(const Shape& x, const std::optional<Quantization>& integers, const Machine& machine)
      : Layer({x, {x[0], x[2], x[3], x[1]}}), integers_(integers), machine_(machine) {}

  void run(const DLTensor* const* tensors) const override {
    const Shape& x = shapes().front();
    channels_last(read(tensors[0]), x[0], x[1], x[2] * x[3], integers_, written(tensors[1]), machine_.target,
                  machine_.threads);
  }
  DLDataType dtype(size_t tensor) const override {
    return dl_type(tensor == 1 && integers_ ? integers_->dtype : Dtype::kFloat32);
  }

 private:
  std::optional<Quantization> integers_;
  Machine machine_;
};

}  // namespace

std::unique_ptr<const Layer> make_channels_last(const Description& d, const Machine& machine) {
  const auto [n, c, h, w] = d.sizes<4>("x");
  if (c > kMostPlanes) throw std::invalid_argument("x must have up to 4 channels");
  const auto integers = integers_of(d, "out");
  if (integers) check_quantization("the output", *integers);
  return std::make_unique<const ChannelsLastLayer>(positive("x", {n, c, h, w}), integers, machine);
}

}  // namespace loopwright
