// The quantization of a layer in the form of its register tiles.
#pragma once

#include "loopwright/quantization.h"
#include "microkernels/brgemm.h"

namespace loopwright {

inline TileQuantization tile_quantization(const LayerQuantization& layer) {
  TileQuantization tile;
  tile.x_scale = layer.x.scale;
  tile.x_zero_point = layer.x.unsigned_zero_point();
  if (layer.out) {
    tile.c_sign = layer.out->sign_byte();
    tile.steps = 1.0f / layer.out->scale;
    tile.lo = static_cast<float>(layer.out->least() - layer.out->zero_point);
    tile.hi = static_cast<float>(layer.out->most() - layer.out->zero_point);
    tile.zero_point = layer.out->unsigned_zero_point();
  }
  if (layer.residual) {
    tile.residual_sign = layer.residual->sign_byte();
    tile.residual_scale = layer.residual->scale;
    tile.residual_zero_point = layer.residual->unsigned_zero_point();
  }
  return tile;
}

}  // namespace loopwright
