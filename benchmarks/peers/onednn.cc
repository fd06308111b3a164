// One dense layer of oneDNN with prepacked weights: a primitive made once, run many times.
//
// oneDNN is given its best: the layout of the weights is its own choice (format_tag::any, packed once), bias and
// activation are fused, and the work is split for the thread count that runs it. Activations and output are plain
// row-major arrays, as a caller has them.

#include <chrono>
#include <string>
#include <unordered_map>
#include <vector>

#include <omp.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "dnnl.hpp"

namespace py = pybind11;

namespace {

using dnnl::memory;
using Array = py::array_t<float, py::array::c_style>;

dnnl::primitive_attr attributes(const std::string& activation) {
  dnnl::primitive_attr attr;
  attr.set_fpmath_mode(dnnl::fpmath_mode::strict);
  dnnl::post_ops post_ops;
  if (activation == "relu") {
    post_ops.append_eltwise(dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
  } else if (activation == "gelu") {
    post_ops.append_eltwise(dnnl::algorithm::eltwise_gelu_erf, 0.0f, 0.0f);
  } else if (!activation.empty()) {
    throw py::value_error("no activation " + activation + " here; choose from: relu, gelu");
  }
  attr.set_post_ops(post_ops);
  return attr;
}

class Dense {
 public:
  // x (m, k), weight (n, k), bias (n) or empty, out (m, n); x and out are used in place, so they must outlive this.
  Dense(const std::string& primitive, Array x, Array weight, const Array& bias, Array out,
        const std::string& activation, int threads)
      : x_(std::move(x)),
        out_(std::move(out)),
        threads_(threads),
        engine_(dnnl::engine::kind::cpu, 0),
        stream_(engine_) {
    omp_set_num_threads(threads_);
    const memory::dim m = x_.shape(0), k = x_.shape(1), n = weight.shape(0);
    const auto f32 = memory::data_type::f32;
    const memory::desc source({m, k}, f32, memory::format_tag::ab);
    const memory::desc target({m, n}, f32, memory::format_tag::ab);
    const bool has_bias = bias.size() > 0;
    const dnnl::primitive_attr attr = attributes(activation);

    memory::desc plain_weights, packed_weights, bias_desc;
    if (primitive == "inner_product") {
      if (has_bias) bias_desc = memory::desc({n}, f32, memory::format_tag::a);
      plain_weights = memory::desc({n, k}, f32, memory::format_tag::ab);
      const dnnl::inner_product_forward::primitive_desc desc(
          engine_, dnnl::prop_kind::forward_inference, source, memory::desc({n, k}, f32, memory::format_tag::any),
          bias_desc, target, attr);
      primitive_ = dnnl::inner_product_forward(desc);
      packed_weights = desc.weights_desc();
      implementation_ = desc.impl_info_str();
    } else if (primitive == "matmul") {
      if (has_bias) bias_desc = memory::desc({1, n}, f32, memory::format_tag::ab);
      plain_weights = memory::desc({k, n}, f32, memory::format_tag::ba);
      const dnnl::matmul::primitive_desc desc(
          engine_, source, memory::desc({k, n}, f32, memory::format_tag::any), bias_desc, target, attr);
      primitive_ = dnnl::matmul(desc);
      packed_weights = desc.weights_desc();
      implementation_ = desc.impl_info_str();
    } else {
      throw py::value_error("no primitive " + primitive + "; choose from: inner_product, matmul");
    }

    memory packed(packed_weights, engine_);
    memory plain(plain_weights, engine_, weight.mutable_data());
    dnnl::reorder(plain, packed).execute(stream_, plain, packed);
    arguments_ = {{DNNL_ARG_SRC, memory(source, engine_, x_.mutable_data())},
                  {DNNL_ARG_WEIGHTS, packed},
                  {DNNL_ARG_DST, memory(target, engine_, out_.mutable_data())}};
    if (has_bias) {
      memory own_bias(bias_desc, engine_);
      std::copy_n(bias.data(), n, static_cast<float*>(own_bias.get_data_handle()));
      arguments_.emplace(DNNL_ARG_BIAS, own_bias);
    }
    stream_.wait();
  }

  void run() {
    py::gil_scoped_release release;
    omp_set_num_threads(threads_);
    primitive_.execute(stream_, arguments_);
    stream_.wait();
  }

  std::vector<double> time(int number, int repeat) {
    py::gil_scoped_release release;
    omp_set_num_threads(threads_);
    std::vector<double> seconds;
    for (int sample = 0; sample < repeat; ++sample) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < number; ++i) {
        primitive_.execute(stream_, arguments_);
        stream_.wait();
      }
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      seconds.push_back(elapsed.count() / number);
    }
    return seconds;
  }

  const std::string& implementation() const { return implementation_; }

 private:
  Array x_, out_;
  int threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::primitive primitive_;
  std::unordered_map<int, memory> arguments_;
  std::string implementation_;
};

std::string version() {
  const dnnl::version_t* v = dnnl::version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace

PYBIND11_MODULE(LOOPWRIGHT_MODULE, module) {
  module.def("version", &version);
  py::class_<Dense>(module, "Dense")
      .def(py::init<const std::string&, Array, Array, const Array&, Array, const std::string&, int>())
      .def("run", &Dense::run)
      .def("time", &Dense::time, py::arg("number"), py::arg("repeat"))
      .def_property_readonly("implementation", &Dense::implementation);
}
