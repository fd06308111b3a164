// The quantization of a layer in the form of its register tiles.
#pragma once

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

inline TileQuantization tile_quantization(const LayerQuantization& layer) {
  return {tile_integers(layer.x), layer.residual ? tile_integers(*layer.residual) : TileIntegers{},
          layer.out ? tile_rounding(*layer.out) : TileRounding{}, layer.sum ? tile_sum(*layer.sum) : TileSum{}};
}

}  // namespace loopwright
