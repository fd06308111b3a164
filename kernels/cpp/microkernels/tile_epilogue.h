// The operations that a register tile applies to its sums before it stores them.
#pragma once

#include "loopwright/activation.h"

namespace loopwright {

// clamp(x, lo, hi), then x * clamp(x + 3, 0, 6) / 6 if hard_swish is set. NaN passes through.
struct TileEpilogue {
  float lo = -__builtin_inff(), hi = __builtin_inff();
  bool hard_swish = false;
};

// Returns the part of an activation that is a clamp.
static inline TileEpilogue clamp_of(Activation activation) {
  TileEpilogue epilogue;
  if (activation == Activation::kRelu || activation == Activation::kRelu6) epilogue.lo = 0.0f;
  if (activation == Activation::kRelu6) epilogue.hi = 6.0f;
  return epilogue;
}

// Returns the part of an activation that register tiles apply.
static inline TileEpilogue tile_epilogue(Activation activation) {
  TileEpilogue epilogue = clamp_of(activation);
  epilogue.hard_swish = activation == Activation::kHardSwish;
  return epilogue;
}

}  // namespace loopwright
