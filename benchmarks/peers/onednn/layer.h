// What Python times: oneDNN primitives that are made once and run many times over memory that is already in their layout.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include <omp.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "dnnl.hpp"

namespace onednn {

namespace py = pybind11;
using dnnl::memory;
using Arguments = std::unordered_map<int, memory>;

// bfloat16 is passed as 16-bit integers, since numpy does not support it.
inline memory::data_type data_type(const py::array& array) {
  if (array.itemsize() == 1) return array.dtype().kind() == 'u' ? memory::data_type::u8 : memory::data_type::s8;
  return array.itemsize() == 2 ? memory::data_type::bf16 : memory::data_type::f32;
}

inline memory::dims shape(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

// The dimensions of an NHWC array as oneDNN names them: n, c, h, w whatever their order in memory.
inline memory::dims image(const py::array& array) {
  return {array.shape(0), array.shape(3), array.shape(1), array.shape(2)};
}

// A layer has up to three lists of primitives. `prepare_` and `finish_` reorder the residual and the output from and to
// plain arrays; only run() executes them. `steps_` are the layer itself, which time() measures.
class Layer {
 public:
  // All primitives must be created after the constructor sets the threads: oneDNN divides the work for that number.
  explicit Layer(int threads) : threads_(threads), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    omp_set_num_threads(threads_);
  }

  const dnnl::engine& engine() const { return engine_; }
  const std::string& implementation() const { return implementation_; }

  memory allocate(const memory::desc& wanted) const { return memory(wanted, engine_); }

  // Returns the contents of `array`, whose layout is `plain`, in the layout `wanted`: in place or reordered once.
  memory input(const py::array& array, const memory::desc& plain, const memory::desc& wanted) {
    const memory source = in_place(array, plain);
    return plain == wanted ? source : copied(source, wanted);
  }

  // Like input(), but never in place, so that each copy of the layer has separate weights.
  memory weights(const py::array& array, const memory::desc& plain, const memory::desc& wanted) {
    return copied(in_place(array, plain), wanted);
  }

  // Returns the memory that the layer writes, which run() then reorders to `array`. A non-empty `residual` is reordered
  // to this memory before, because oneDNN adds a residual by accumulating into the output.
  memory output(const py::array& array, const py::array& residual, const memory::desc& plain,
                const memory::desc& wanted) {
    const memory target = in_place(array, plain);
    const memory own = plain == wanted ? target : allocate(wanted);
    if (residual.size() > 0) reorder(prepare_, in_place(residual, plain), own);
    if (plain != wanted) reorder(finish_, own, target);
    return own;
  }

  template <class Primitive>
  void add(const typename Primitive::primitive_desc& desc, Arguments arguments) {
    steps_.push_back({Primitive(desc), std::move(arguments)});
    implementation_ += (implementation_.empty() ? "" : ", ") + std::string(desc.impl_info_str());
  }

  void run() {
    const py::gil_scoped_release release;
    omp_set_num_threads(threads_);
    for (const auto* steps : {&prepare_, &steps_, &finish_}) execute(*steps);
  }

  // Returns `repeat` samples in seconds per run, each the mean over `number` runs.
  std::vector<double> time(int number, int repeat) {
    const py::gil_scoped_release release;
    omp_set_num_threads(threads_);
    std::vector<double> seconds;
    for (int sample = 0; sample < repeat; ++sample) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < number; ++i) execute(steps_);
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      seconds.push_back(elapsed.count() / number);
    }
    return seconds;
  }

  // Returns a copy with the same activations and separate weights.
  Layer copy() const {
    Layer other = *this;
    for (Step& step : other.steps_)
      for (const int name : {DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS}) {
        const auto found = step.arguments.find(name);
        if (found == step.arguments.end()) continue;
        const memory source = found->second;
        found->second = allocate(source.get_desc());
        std::memcpy(found->second.get_data_handle(), source.get_data_handle(), source.get_desc().get_size());
      }
    return other;
  }

 private:
  struct Step {
    dnnl::primitive primitive;
    Arguments arguments;
  };

  memory in_place(const py::array& array, const memory::desc& plain) {
    arrays_.push_back(array);
    return memory(plain, engine_, const_cast<void*>(array.data()));
  }

  memory copied(memory source, const memory::desc& wanted) {
    memory copy = allocate(wanted);
    dnnl::reorder(source, copy).execute(stream_, source, copy);
    stream_.wait();
    return copy;
  }

  static void reorder(std::vector<Step>& steps, const memory& from, const memory& to) {
    steps.push_back({dnnl::reorder(from, to), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}});
  }

  void execute(const std::vector<Step>& steps) {
    for (const Step& step : steps) step.primitive.execute(stream_, step.arguments);
    stream_.wait();
  }

  int threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::vector<py::array> arrays_;  // used in place, so they must live as long
  std::vector<Step> prepare_, steps_, finish_;
  std::string implementation_;
};

}  // namespace onednn
