// Group normalization: attributes x (n, h, w, c), groups and epsilon; weights gamma and beta.
#include "loopwright/group_norm.h"

#include "make.h"

namespace loopwright {
namespace {

class GroupNormLayer final : public Layer {
 public:
  GroupNormLayer(const Shape& shape, int64_t groups, const float* gamma, const float* beta, float epsilon,
                 const Machine& machine)
      : Layer({shape, shape}),
        groups_(groups),
        gamma_(gamma, gamma + shape[3]),
        beta_(beta, beta + shape[3]),
        epsilon_(epsilon),
        machine_(machine) {}

  void run(const DLTensor* const* tensors) const override {
    const Shape& x = shapes().front();
    group_norm({read(tensors[0]), gamma_.data(), beta_.data(), written(tensors[1]), x[0], x[1] * x[2], x[3], groups_,
                epsilon_},
               machine_.target, machine_.threads);
  }

 private:
  int64_t groups_;
  std::vector<float> gamma_, beta_;
  float epsilon_;
  Machine machine_;
};

}  // namespace

std::unique_ptr<const Layer> make_group_norm(const Description& d, const Machine& machine) {
  const auto [n, h, w, c] = d.sizes<4>("x");
  const int64_t channels = c, groups = d.integer("groups");
  const Shape shape = positive("x", {n, h, w, c});
  if (groups < 1 || channels % groups) throw std::invalid_argument("groups must divide the channels");
  return std::make_unique<GroupNormLayer>(shape, groups, d.weight("gamma", {channels}), d.weight("beta", {channels}),
                                          static_cast<float>(d.number("epsilon")), machine);
}

}  // namespace loopwright
