// The functions of integer_rows.h, templated over a vector type V of 8-bit integers.
#pragma once

#include "microkernels/integer_rows.h"

namespace loopwright {
namespace {

template <class V>
void integers_to_words(const void* from, const Quantization& x, int64_t count, float* to) {
  constexpr int64_t kStep = 16;
  const auto* bytes = static_cast<const uint8_t*>(from);
  auto* elements = reinterpret_cast<typename V::Element*>(to);
  const bool is_signed = x.dtype == Dtype::kInt8;
  const int offset = V::kBytes ? (is_signed ? 128 : 0) : -x.zero_point;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) V::store_elements(elements + i, bytes + i, is_signed, offset);
  for (; i < count; ++i)
    elements[i] = static_cast<typename V::Element>((is_signed ? static_cast<int8_t>(bytes[i]) : bytes[i]) + offset);
  for (; i % V::kProducts != 0; ++i) elements[i] = 0;
}

template <class V>
void add_range(const float* x, int64_t count, float* least, float* most) {
  constexpr int kUnroll = 4;
  typename V::Reg lo[kUnroll], hi[kUnroll];
#pragma GCC unroll 4
  for (int u = 0; u < kUnroll; ++u) {
    lo[u] = V::set1(*least);
    hi[u] = V::set1(*most);
  }
  int64_t i = 0;
  for (; i + kUnroll * V::kLanes <= count; i += kUnroll * V::kLanes)
#pragma GCC unroll 4
    for (int u = 0; u < kUnroll; ++u) {
      const auto v = V::load(x + i + u * V::kLanes);
      lo[u] = V::min(v, lo[u]);
      hi[u] = V::max(v, hi[u]);
    }
  float lanes[2 * kUnroll * V::kLanes];
#pragma GCC unroll 4
  for (int u = 0; u < kUnroll; ++u) {
    V::store(lanes + u * V::kLanes, lo[u]);
    V::store(lanes + (kUnroll + u) * V::kLanes, hi[u]);
  }
  for (int l = 0; l < kUnroll * V::kLanes; ++l) {
    *least = lanes[l] < *least ? lanes[l] : *least;
    *most = lanes[kUnroll * V::kLanes + l] > *most ? lanes[kUnroll * V::kLanes + l] : *most;
  }
  for (; i < count; ++i) {
    *least = x[i] < *least ? x[i] : *least;
    *most = x[i] > *most ? x[i] : *most;
  }
}

template <class V>
void quantize_to_words(const float* from, const Quantization& x, int64_t count, float* to) {
  const auto divisor = V::set1(x.scale), lo = V::set1(static_cast<float>(x.least() - x.zero_point)),
             hi = V::set1(static_cast<float>(x.most() - x.zero_point));
  const auto steps = [&](typename V::Reg v) { return V::min(hi, V::max(V::div(v, divisor), lo)); };
  const int offset = V::kBytes ? x.unsigned_zero_point() : 0;
  auto* elements = reinterpret_cast<typename V::Element*>(to);
  int64_t i = 0;
  for (; i + 2 * V::kLanes <= count; i += 2 * V::kLanes)
    V::store_elements(elements + i, steps(V::load(from + i)), steps(V::load(from + i + V::kLanes)), offset);
  if (i < count) {
    const auto part = [&](int64_t begin) {
      const int64_t left = count - begin;
      return V::mask(left < 0 ? 0 : left < V::kLanes ? static_cast<int>(left) : V::kLanes);
    };
    typename V::Element rest[2 * V::kLanes];
    V::store_elements(rest, steps(V::load(from + i, part(i))),
                      steps(V::load(from + i + V::kLanes, part(i + V::kLanes))), offset);
    for (int64_t p = i; p < count; ++p) elements[p] = rest[p - i];
  }
  for (i = count; i % V::kProducts != 0; ++i) elements[i] = 0;
}

template <class V>
void quantize_rows(const float* from, int64_t from_stride, uint8_t* to, int64_t to_stride, int rows, int n,
                   const TileQuantization& quantization) {
  const auto format = V::narrow_format(&quantization);
  const int rest = n % V::kLanes;
  for (int i = 0; i < rows; ++i, from += from_stride, to += to_stride) {
    int j = 0;
    for (; j + V::kLanes <= n; j += V::kLanes) format.store(to + j, V::load(from + j), V::mask(V::kLanes));
    if (rest > 0) format.store(to + j, V::load(from + j, V::mask(rest)), V::mask(rest));
  }
}

template <class V>
IntegerRowFunctions integer_row_functions() {
  return {&integers_to_words<V>, &quantize_to_words<V>, &add_range<V>, &quantize_rows<V>};
}

}  // namespace
}  // namespace loopwright
