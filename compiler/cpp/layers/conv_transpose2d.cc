// conv_transpose2d: attributes x (n, h, w, c), weight_shape (c, o / groups, kh, kw), stride, padding, output_padding,
// dilation, groups, residual, activation; weights weight, bias and slopes (optional).
#include "loopwright/conv_transpose2d.h"

#include <tuple>

#include "convolution.h"
#include "loopwright/activation.h"
#include "make.h"

namespace loopwright {
namespace {

class ConvTranspose2dLayer final : public Layer {
 public:
  // `shared` is the operator of another size, or null.
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine,
                                           std::shared_ptr<const ConvTranspose2d> shared = nullptr) {
    const auto [n, h, w, c] = d.sizes<4>("x");
    const auto [weight_c, group_o, kh, kw] = d.sizes<4>("weight_shape");
    ConvTranspose2dGeometry g{};
    set_window(g, d);
    std::tie(g.output_pad_h, g.output_pad_w) = std::tuple_cat(d.sizes<2>("output_padding"));
    positive("sizes", {n, h, w, c, group_o, kh, kw});
    constexpr const char* kMismatch = "x, weight_shape, groups and padding do not match";
    if (weight_c != c || c % g.groups != 0) throw std::invalid_argument(kMismatch);
    std::tie(g.c, g.o, g.kh, g.kw) = std::tuple(c, group_o * g.groups, kh, kw);
    const int64_t oh = g.output_h(h), ow = g.output_w(w);
    if (oh < 1 || ow < 1) throw std::invalid_argument(kMismatch);
    const float* weight = d.weight("weight", {c, group_o, kh, kw});
    if (!shared || !(shared->geometry() == g))
      shared = std::make_shared<const ConvTranspose2d>(
          weight, g, epilogue_of(d, parse_activation(d.optional_text("activation")), g.o), machine.target, w);
    return std::unique_ptr<const Layer>(
        new ConvTranspose2dLayer(with_residual({n, h, w, c}, d.flag("residual"), {n, oh, ow, g.o}), {n, h, w},
                                 std::move(shared), machine.threads));
  }

  void run(const DLTensor* const* tensors) const override {
    const bool residual = shapes().size() == 3;
    op_->run(read(tensors[0]), images_, written(tensors[residual ? 2 : 1]), residual ? read(tensors[1]) : nullptr,
             threads_);
  }
  std::unique_ptr<const Layer> resized(const Description& d, const Machine& machine) const override {
    return make(d, machine, op_);
  }

 private:
  ConvTranspose2dLayer(std::vector<Shape> shapes, const Images& images, std::shared_ptr<const ConvTranspose2d> op,
                       int threads)
      : Layer(std::move(shapes)), images_(images), op_(std::move(op)), threads_(threads) {}

  Images images_;
  std::shared_ptr<const ConvTranspose2d> op_;
  int threads_;
};

}  // namespace

std::unique_ptr<const Layer> make_conv_transpose2d(const Description& description, const Machine& machine) {
  return ConvTranspose2dLayer::make(description, machine);
}

}  // namespace loopwright
