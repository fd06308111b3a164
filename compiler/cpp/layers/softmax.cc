// softmax: attribute sizes (rows, columns).
#include "loopwright/rowwise.h"
#include "make.h"

namespace loopwright {
namespace {

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

}  // namespace

std::unique_ptr<const Layer> make_softmax(const Description& description, const Machine& machine) {
  return SoftmaxLayer::make(description, machine);
}

}  // namespace loopwright
