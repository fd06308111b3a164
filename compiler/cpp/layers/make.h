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
  return d.is_null("dtype") ? Dtype::kFloat32 : parse_dtype(d.text("dtype"));
}

// Whether this CPU has a register tile of a layer. For types other than float32, CPUs with the same ISA may have others than where
// it was tuned.
inline bool has_tile(Isa isa, Dtype dtype, int mr, int nr) {
  if (dtype == Dtype::kFloat32) return true;
  const auto tiles = register_tiles(isa, dtype);
  return std::find(tiles.begin(), tiles.end(), std::pair(mr, nr)) != tiles.end();
}

// Returns the weight of a layer.
inline const void* weight_of(const Description& d, const std::string& name, const Shape& shape, Dtype dtype) {
  switch (dtype) {
    case Dtype::kInt8: return d.int8_weight(name, shape);
    case Dtype::kBfloat16: return d.bfloat16_weight(name, shape);
    default: return d.weight(name, shape);
  }
}
inline const void* weight_of(const Description& d, const std::string& name, const Shape& shape) {
  return weight_of(d, name, shape, dtype_of(d));
}

// Whether "x", "residual" or "out" is bfloat16. Descriptions of before format 13 lack it: these tensors are float32.
inline bool is_bfloat16(const Description& d, const std::string& tensor) {
  const std::string dtype = tensor + "_dtype";
  return dtype_of(d) != Dtype::kInt8 && !d.is_null(dtype.c_str()) && d.text(dtype.c_str()) == name(Dtype::kBfloat16);
}

// Returns what the integers of "x", "residual", "out" or "sum" stand for; null if the tensor has another type.
inline std::optional<Quantization> integers_of(const Description& d, const std::string& tensor) {
  const std::string dtype = tensor + "_dtype", scale = tensor + "_scale", zero_point = tensor + "_zero_point";
  if (d.is_null(dtype.c_str()) || is_bfloat16(d, tensor)) return std::nullopt;
  return Quantization{parse_integers(d.text(dtype.c_str())), static_cast<float>(d.number(scale.c_str())),
                      d.signed_integer(zero_point.c_str())};
}

inline bool takes_floats(const Description& d) { return d.is_null("x_is_float") || d.flag("x_is_float"); }

inline bool has_same_quantization(const Description& a, const Description& b) {
  const auto same = [&](const char* tensor) {
    const auto of_a = integers_of(a, tensor), of_b = integers_of(b, tensor);
    return is_bfloat16(a, tensor) == is_bfloat16(b, tensor) && of_a.has_value() == of_b.has_value() &&
           (!of_a ||
            (of_a->dtype == of_b->dtype && of_a->scale == of_b->scale && of_a->zero_point == of_b->zero_point));
  };
  return dtype_of(a) == dtype_of(b) && takes_floats(a) == takes_floats(b) && same("x") && same("residual") &&
         same("out") && same("sum");
}

// Returns the quantization of an int8 layer. An x of float32 is quantized by its range if there is no x_dtype. Descriptions of
// before format 9 lack x_is_float, residual and out: these tensors are float32.
inline LayerQuantization quantization_of(const Description& d, int64_t n) {
  LayerQuantization quantization;
  if (dtype_of(d) != Dtype::kInt8) return quantization;
  using Input = LayerQuantization::Input;
  quantization.weight_scales = d.weight("scales", {n});
  const auto x = integers_of(d, "x");
  const bool is_float = takes_floats(d);
  if (!x && !is_float) throw std::invalid_argument("x_dtype is missing");
  quantization.input = !x ? Input::kFloatsByRange : is_float ? Input::kFloats : Input::kIntegers;
  if (x) quantization.x = *x;
  quantization.residual = integers_of(d, "residual");
  quantization.out = integers_of(d, "out");
  quantization.sum = integers_of(d, "sum");
  return quantization;
}

inline DLDataType dl_type(Dtype dtype) {
  if (dtype == Dtype::kFloat32) return {kDLFloat, 32, 1};
  if (dtype == Dtype::kBfloat16) return {kDLBfloat, 16, 1};
  return {static_cast<uint8_t>(dtype == Dtype::kInt8 ? kDLInt : kDLUInt), 8, 1};
}

// The data types of a layer's tensors: x, then residual if there is one, then out.
class TensorDtypes {
 public:
  // `takes_bfloat16`: whether a float32 layer may have tensors of bfloat16.
  TensorDtypes(const Description& d, int64_t n, bool residual, bool takes_bfloat16 = false)
      : dtypes_(dtype_of(d), quantization_of(d, n)), residual_(residual) {
    if (dtype_of(d) == Dtype::kInt8) return;
    const auto of = [&](const char* tensor) {
      if (!is_bfloat16(d, tensor)) return Dtype::kFloat32;
      if (dtype_of(d) == Dtype::kFloat32 && !takes_bfloat16)
        throw std::invalid_argument(std::string(tensor) + "_dtype: this layer of float32 has no tensors of bfloat16");
      return Dtype::kBfloat16;
    };
    dtypes_.x = of("x");
    dtypes_.residual = of("residual");
    dtypes_.out = of("out");
  }
  // Those of a chain from its first to its last layer.
  TensorDtypes(const TensorDtypes& first, const TensorDtypes& last) : TensorDtypes(last) { dtypes_.x = first.x(); }

  Dtype x() const { return dtypes_.x; }
  Dtype residual() const { return dtypes_.residual; }
  Dtype out() const { return dtypes_.out; }
  DLDataType of(size_t tensor) const {
    const Dtype dtype = tensor == 0 ? dtypes_.x : residual_ && tensor == 1 ? dtypes_.residual : dtypes_.out;
    return dl_type(dtype);
  }

 private:
  LayerDtypes dtypes_;
  bool residual_;
};

// Returns the epilogue of a layer of n output channels. `place` is appended to the names of the weights.
inline LayerEpilogue epilogue_of(const Description& d, Activation activation, int64_t n,
                                 const std::string& place = "") {
  return {d.optional_weight("bias" + place, {n}), activation, d.optional_weight("slopes" + place, {n}),
          quantization_of(d, n)};
}

}  // namespace loopwright
