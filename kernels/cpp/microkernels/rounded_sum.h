// Sums that are rounded to 8-bit integers and back before a residual is added, templated over the vector type V.
#pragma once

#include "microkernels/tile_epilogue.h"

namespace loopwright {
namespace {

template <class V>
class RoundedSum {
 public:
  explicit RoundedSum(const TileSum& of) : lo_(V::set1(of.lo)), hi_(V::set1(of.hi)), scale_(V::set1(of.scale)) {}

  // NaN becomes the least.
  typename V::Reg operator()(typename V::Reg x) const { return V::mul(V::round(V::min(hi_, V::max(x, lo_))), scale_); }

 private:
  typename V::Reg lo_, hi_, scale_;
};

}  // namespace
}  // namespace loopwright
