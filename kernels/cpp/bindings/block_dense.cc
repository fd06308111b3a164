#include "loopwright/block_dense.h"

#include <pybind11/stl.h>

#include "arguments.h"
#include "dense_call.h"
#include "module.h"
#include "packed_layer.h"

namespace loopwright {
namespace {

BlockDense make_block_dense(const py::object& numbers_object, const py::object& scales_object, int64_t k, int bits,
                            int64_t block, const py::object& zero_points_object, const py::object& bias_object,
                            const std::optional<std::string>& activation, const py::object& slopes,
                            const std::optional<std::string>& isa, int threads) {
  check_blocks(k, bits, block);
  BlockWeight weight{0, k, bits, block, nullptr, nullptr, nullptr};
  const py::array numbers =
      contiguous_or_copied(checked(numbers_object, "numbers", {-1, weight.row_bytes()}, {Dtype::kUint8}));
  weight.n = numbers.shape(0);
  const std::vector<int64_t> of_blocks{weight.n, weight.blocks()};
  const py::array scales = contiguous_or_copied(checked(scales_object, "scales", of_blocks));
  weight.numbers = static_cast<const uint8_t*>(numbers.data());
  weight.scales = static_cast<const float*>(scales.data());
  py::array zero_points;
  if (!zero_points_object.is_none()) {
    zero_points = contiguous_or_copied(checked(zero_points_object, "zero_points", of_blocks, {Dtype::kUint8}));
    weight.zero_points = static_cast<const uint8_t*>(zero_points.data());
  }
  const EpilogueArrays arrays(bias_object, activation, slopes, weight.n);
  return BlockDense(weight, arrays.epilogue(), parse_target(isa, nullptr), check_threads(threads));
}

}  // namespace

void bind_block_dense(py::module_& m) {
  py::class_<BlockDense> layer(m, "BlockDense");
  bind_calls<DenseCall<BlockDense>>(layer);
  layer.def(py::init(&make_block_dense), py::arg("numbers"), py::arg("scales"), py::arg("k"), py::arg("bits"),
            py::arg("block"), py::arg("zero_points"), py::arg("bias"), py::arg("activation"), py::arg("slopes"),
            py::arg("isa"), py::arg("threads"));
}

}  // namespace loopwright
