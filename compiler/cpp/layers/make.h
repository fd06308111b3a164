// Functions for all kinds of layers. A file NAME.cc defines make_NAME, and CMake lists it in the table of layer.cc.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../description.h"
#include "../layer.h"
#include "loopwright/dtype.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/machine.h"

namespace loopwright {

inline const float* read(const DLTensor* tensor) {
  return reinterpret_cast<const float*>(static_cast<const char*>(tensor->data) + tensor->byte_offset);
}

inline float* written(const DLTensor* tensor) { return const_cast<float*>(read(tensor)); }

// Throws std::invalid_argument if a size is 0.
inline Shape positive(const char* key, const Shape& sizes) {
  if (std::any_of(sizes.begin(), sizes.end(), [](int64_t size) { return size < 1; }))
    throw std::invalid_argument(std::string(key) + " must be at least 1");
  return sizes;
}

inline std::vector<Shape> with_residual(Shape x, bool residual, Shape out) {
  std::vector<Shape> shapes{std::move(x)};
  if (residual) shapes.push_back(out);
  shapes.push_back(std::move(out));
  return shapes;
}

// The dtype of a layer, which descriptions of before format 8 lack.
inline Dtype dtype_of(const Description& d) {
  const Dtype dtype = d.is_null("dtype") ? Dtype::kFloat32 : parse_dtype(d.text("dtype"));
  if (dtype != Dtype::kFloat32 && dtype != Dtype::kInt8) throw std::invalid_argument("dtype must be float32 or int8");
  return dtype;
}

// Whether this CPU has a register tile of an int8 layer. CPUs with the same ISA may have others than where it was tuned.
inline bool has_integer_tile(Isa isa, int mr, int nr) {
  const auto tiles = register_tiles(isa, Dtype::kInt8);
  return std::find(tiles.begin(), tiles.end(), std::pair(mr, nr)) != tiles.end();
}

// Returns the weight of a layer.
inline const void* weight_of(const Description& d, const std::string& name, const Shape& shape) {
  return dtype_of(d) == Dtype::kInt8 ? static_cast<const void*>(d.int8_weight(name, shape)) : d.weight(name, shape);
}

// Returns how an int8 layer quantizes its input, which is float32: by its range if there is no x_dtype.
inline LayerQuantization quantization_of(const Description& d, int64_t n) {
  LayerQuantization quantization;
  if (dtype_of(d) != Dtype::kInt8) return quantization;
  quantization.weight_scales = d.weight("scales", {n});
  quantization.input = LayerQuantization::Input::kFloatsByRange;
  if (d.is_null("x_dtype")) return quantization;
  quantization.input = LayerQuantization::Input::kFloats;
  quantization.x = {parse_integers(d.text("x_dtype")), static_cast<float>(d.number("x_scale")),
                    d.signed_integer("x_zero_point")};
  return quantization;
}

// Returns the epilogue of a layer of n output channels. `place` is appended to the names of the weights.
inline LayerEpilogue epilogue_of(const Description& d, Activation activation, int64_t n,
                                 const std::string& place = "") {
  return {d.optional_weight("bias" + place, {n}), activation, d.optional_weight("slopes" + place, {n}),
          quantization_of(d, n)};
}

}  // namespace loopwright
