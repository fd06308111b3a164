// The quantization of a layer in the form of its register tiles.
#pragma once

#include <utility>

#include "loopwright/activation.h"
#include "loopwright/quantization.h"
#include "microkernels/tile_epilogue.h"

namespace loopwright {

inline TileIntegers tile_integers(const Quantization& from) {
  return {from.scale, from.unsigned_zero_point(), from.sign_byte()};
}

inline TileRounding tile_rounding(const Quantization& to) {
  return {1.0f / to.scale, static_cast<float>(to.least() - to.zero_point),
          static_cast<float>(to.most() - to.zero_point), to.unsigned_zero_point(), to.sign_byte()};
}

inline TileSum tile_sum(const Quantization& of) {
  const TileRounding rounding = tile_rounding(of);
  return {rounding.steps, rounding.lo, rounding.hi, of.scale};
}

// Whether the end of a tile applies the activation to integers of the output. Others need the results themselves.
inline bool is_in_units(Activation activation) {
  return activation == Activation::kNone || activation == Activation::kRelu || activation == Activation::kRelu6 ||
         activation == Activation::kPrelu;
}

inline TileQuantization tile_quantization(const LayerQuantization& layer, Dtype out, Activation activation) {
  TileQuantization tile;
  tile.x = tile_integers(layer.x);
  if (layer.residual) tile.residual = tile_integers(*layer.residual);
  if (layer.out) tile.out = tile_rounding(*layer.out);
  if (layer.sum) tile.sum = tile_sum(*layer.sum);
  if (is_integer(out) && is_in_units(activation)) std::swap(tile.unit, tile.out.steps);  // results are in steps already
  tile.factor = layer.sum ? tile.sum.steps : tile.unit;
  tile.residual.scale *= tile.unit;
  tile.sum.scale *= tile.unit;
  return tile;
}

}  // namespace loopwright
