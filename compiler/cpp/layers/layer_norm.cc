// layer_norm: attributes sizes (rows, columns), epsilon; weights gamma, beta.
#include "loopwright/rowwise.h"
#include "make.h"

namespace loopwright {
namespace {

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

}  // namespace

std::unique_ptr<const Layer> make_layer_norm(const Description& description, const Machine& machine) {
  return LayerNormLayer::make(description, machine);
}

}  // namespace loopwright
