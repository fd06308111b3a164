// recurrent: attributes cell, sizes (steps, batch, inputs, units), reverse (a flag, 0 or 1, for each direction), activations
// (objects with function, alpha and beta), clip (a number or null), input_forget, linear_before_reset, batch_first; the
// flags sequence_lens, initial_h and initial_c, whether there are such inputs after x, in this order; the flags y, y_h and
// y_c, which outputs there are. Weights w, r, b (optional), p (optional).
#include "loopwright/recurrent.h"

#include <tvm/ffi/error.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "make.h"

namespace loopwright {
namespace {

// The tensors of one run, in the order in which a program passes them.
enum Tensor { kX, kLengths, kInitialH, kInitialC, kY, kYH, kYC, kTensors };

// The operators of layers of all sizes, by their number of threads, for which weights are packed. Thread-safe.
class Operators {
 public:
  explicit Operators(const Description& d) : owner_(d.weights()) {}

  // Throws std::invalid_argument if the operator is not that of the other layers.
  std::shared_ptr<const Recurrent> get(const RecurrentOptions& options, const RecurrentWeights& weights, int64_t inputs,
                                       int64_t units, const Machine& machine) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!options_) options_ = options;
    if (!same(*options_, options))
      throw std::invalid_argument("only steps, batch and the inputs and outputs may differ between sizes");
    auto& op = by_threads_[machine.threads];
    if (!op) op = std::make_shared<const Recurrent>(options, weights, inputs, units, machine.target, machine.threads);
    return op;
  }

 private:
  static bool same(const RecurrentOptions& a, const RecurrentOptions& b) {
    const auto fields = [](const RecurrentOptions& o) {
      return std::tie(o.cell, o.reverse, o.clip, o.input_forget, o.linear_before_reset);
    };
    const auto same_activation = [](const GateActivation& x, const GateActivation& y) {
      return x.function == y.function && x.alpha == y.alpha && x.beta == y.beta;
    };
    return fields(a) == fields(b) && std::equal(a.activations.begin(), a.activations.end(), b.activations.begin(),
                                                b.activations.end(), same_activation);
  }

  tvm::ffi::Array<tvm::ffi::Tensor> owner_;  // of the raw weights
  std::mutex mutex_;
  std::optional<RecurrentOptions> options_;
  std::map<int, std::shared_ptr<const Recurrent>> by_threads_;
};

class RecurrentLayer final : public Layer {
 public:
  // `shared` is null for the first layer.
  static std::unique_ptr<const Layer> make(const Description& d, const Machine& machine,
                                           std::shared_ptr<Operators> shared = nullptr) {
    const auto [steps, batch, inputs, units] = d.sizes<4>("sizes");
    positive("sizes", {units});
    RecurrentOptions options{parse_cell(d.text("cell")), {}, {}};
    for (const int64_t reverse : d.integers("reverse")) options.reverse.push_back(reverse != 0);
    for (const Description& activation : d.objects("activations"))
      options.activations.push_back({parse_gate_function(activation.text("function")),
                                     static_cast<float>(activation.number("alpha")),
                                     static_cast<float>(activation.number("beta"))});
    if (!d.is_null("clip")) options.clip = static_cast<float>(d.number("clip"));
    options.input_forget = d.flag("input_forget");
    options.linear_before_reset = d.flag("linear_before_reset");

    const auto directions = static_cast<int64_t>(options.reverse.size());
    const int64_t rows = gates_of(options.cell) * units;
    const RecurrentWeights weights{d.weight("w", {directions, rows, inputs}), d.weight("r", {directions, rows, units}),
                                   d.optional_weight("b", {directions, 2 * rows}),
                                   d.optional_weight("p", {directions, 3 * units})};
    const bool lstm = options.cell == Cell::kLstm;
    if (!lstm && (d.flag("initial_c") || d.flag("y_c")))
      throw std::invalid_argument("initial_c and y_c must be false unless the cell is lstm");
    const std::array<bool, kTensors> present{
        true,        d.flag("sequence_lens"), d.flag("initial_h"), d.flag("initial_c"),
        d.flag("y"), d.flag("y_h"),           d.flag("y_c")};
    // In either order of axes, because only the number of elements is checked.
    const Shape state{directions, batch, units};
    const std::array<Shape, kTensors> all{Shape{steps, batch, inputs},       {batch}, state, state,
                                          {steps, directions, batch, units}, state,   state};
    std::vector<Shape> shapes;
    for (size_t i = 0; i < kTensors; ++i)
      if (present[i]) shapes.push_back(all[i]);
    if (!shared) shared = std::make_shared<Operators>(d);
    auto op = shared->get(options, weights, inputs, units, machine);
    return std::unique_ptr<const Layer>(new RecurrentLayer(std::move(shapes), present, d.text("name"), steps, batch,
                                                           d.flag("batch_first"), std::move(shared), std::move(op)));
  }

  std::unique_ptr<const Layer> resized(const Description& d, const Machine& machine) const override {
    return make(d, machine, shared_);
  }

  DLDataType dtype(size_t tensor) const override {
    return present_[kLengths] && tensor == 1 ? DLDataType{kDLInt, 32, 1} : Layer::dtype(tensor);
  }

  void run(const DLTensor* const* tensors) const override {
    std::array<const DLTensor*, kTensors> all{};
    for (size_t i = 0; i < kTensors; ++i)
      if (present_[i]) all[i] = *tensors++;
    const auto in = [&](Tensor t) { return all[t] ? read(all[t]) : nullptr; };
    const auto out = [&](Tensor t) { return all[t] ? written(all[t]) : nullptr; };
    RecurrentArgs args{steps_, batch_, batch_first_, in(kX)};
    args.lengths = reinterpret_cast<const int32_t*>(in(kLengths));
    args.initial_h = in(kInitialH);
    args.initial_c = in(kInitialC);
    args.y = out(kY);
    args.y_h = out(kYH);
    args.y_c = out(kYC);
    try {
      op_->run(args);
    } catch (const std::invalid_argument& error) {
      TVM_FFI_THROW(ValueError) << "node '" << name_ << "': " << error.what();
    }
  }

 private:
  RecurrentLayer(std::vector<Shape> shapes, const std::array<bool, kTensors>& present, std::string name, int64_t steps,
                 int64_t batch, bool batch_first, std::shared_ptr<Operators> shared,
                 std::shared_ptr<const Recurrent> op)
      : Layer(std::move(shapes)),
        present_(present),
        name_(std::move(name)),
        steps_(steps),
        batch_(batch),
        batch_first_(batch_first),
        shared_(std::move(shared)),
        op_(std::move(op)) {}

  std::array<bool, kTensors> present_;
  std::string name_;
  int64_t steps_, batch_;
  bool batch_first_;
  std::shared_ptr<Operators> shared_;
  std::shared_ptr<const Recurrent> op_;
};

}  // namespace

std::unique_ptr<const Layer> make_recurrent(const Description& description, const Machine& machine) {
  return RecurrentLayer::make(description, machine);
}

}  // namespace loopwright
