// The functions of integer_rows.h, templated over a vector type V of 8-bit integers.
#pragma once

#include <cstring>

#include "microkernels/activations_f32.h"
#include "microkernels/integer_rows.h"
#include "microkernels/rounded_sum.h"
#include "microkernels/vector_access.h"

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
void pixels_to_words(const void* from, const Quantization& x, int64_t pixels, int64_t channels, float* to) {
  const auto* bytes = static_cast<const uint8_t*>(from);
  const int64_t words = (channels + V::kProducts - 1) / V::kProducts;
  if (!V::kBytes || words > 1) {
    for (int64_t i = 0; i < pixels; ++i) integers_to_words<V>(bytes + i * channels, x, channels, to + i * words);
    return;
  }
  // A pixel is one word. It is loaded with bytes of the next ones where there are any.
  const uint32_t kept = ~uint32_t{0} >> (32 - 8 * channels), sign = x.sign_byte() * uint32_t{0x01010101} & kept;
  const auto store = [&](int64_t i, uint32_t word) {
    word = (word & kept) ^ sign;
    std::memcpy(to + i, &word, sizeof(word));
  };
  int64_t i = 0;
  uint32_t word = 0;
  for (; (pixels - i) * channels >= static_cast<int64_t>(sizeof(word)); ++i) {
    std::memcpy(&word, bytes + i * channels, sizeof(word));
    store(i, word);
  }
  for (; i < pixels; ++i) {
    std::memcpy(&word, bytes + i * channels, static_cast<size_t>(channels));
    store(i, word);
  }
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
                   const TileRounding& rounding) {
  const typename V::NarrowWriter writer(rounding);
  const auto steps = V::set1(rounding.steps);
  const int rest = n % V::kLanes;
  for (int i = 0; i < rows; ++i, from += from_stride, to += to_stride) {
    int j = 0;
    for (; j + V::kLanes <= n; j += V::kLanes)
      writer.store(to + j, V::mul(V::load(from + j), steps), V::mask(V::kLanes));
    if (rest > 0) writer.store(to + j, V::mul(V::load(from + j, V::mask(rest)), steps), V::mask(rest));
  }
}

template <class V>
void integers_to_floats(const void* from, const Quantization& x, int64_t count, float* to) {
  const auto* bytes = static_cast<const uint8_t*>(from);
  const bool is_signed = x.dtype == Dtype::kInt8;
  const auto zero = V::set1(static_cast<float>(x.zero_point));
  int64_t i = 0;
  for (; i + V::kLanes <= count; i += V::kLanes) V::store(to + i, V::sub(V::from_bytes(bytes + i, is_signed), zero));
  for (; i < count; ++i)
    to[i] = static_cast<float>((is_signed ? static_cast<int8_t>(bytes[i]) : bytes[i]) - x.zero_point);
}

template <class V>
void round_to_floats(const float* from, const Quantization& x, int64_t count, float* to) {
  const auto divisor = V::set1(x.scale), lo = V::set1(static_cast<float>(x.least() - x.zero_point)),
             hi = V::set1(static_cast<float>(x.most() - x.zero_point));
  for_each_vector<V>(count, [&](int64_t i, const auto& access) {
    access.store(to + i, V::round(V::min(hi, V::max(V::div(access.load(from + i), divisor), lo))));
  });
}

template <class V>
void scale_rows(const SumRows& r, const TileQuantization& quantization) {
  const typename V::NarrowReader reader(quantization.residual);
  const RoundedSum<V> rounded(quantization.sum);
  const auto x_scale = V::set1(quantization.x.scale), factor = V::set1(quantization.factor);
  const auto unit = V::set1(quantization.unit), lo = V::set1(r.lo * quantization.unit);
  const auto hi = V::set1(r.hi * quantization.unit);
  for (int64_t i = 0; i < r.rows; ++i)
    for_each_vector<V>(r.n, [&](int64_t j, const auto& access) {
      const int64_t at = i * r.n + j;
      const auto bias = r.bias ? V::mul(V::load(r.bias + j), factor) : V::zero();
      const auto scale = V::mul(V::mul(V::load(r.scales + j), x_scale), factor);
      auto y = V::fma(access.load(r.sums + at), scale, bias);
      if (quantization.sum.steps != 0.0f) y = rounded(y);
      if (r.residual) y = V::fma(access.load(r.residual + at), unit, y);
      const int left = r.n - static_cast<int>(j);
      if (r.integer_residual) y = reader.add(y, r.integer_residual + at, V::mask(left < V::kLanes ? left : V::kLanes));
      y = V::min(hi, V::max(lo, y));  // in this order NaN passes through
      access.store(r.y + at, r.slopes ? Prelu::apply<V>(y, V::load(r.slopes + j)) : y);
    });
}

template <class V>
IntegerRowFunctions integer_row_functions() {
  return {&integers_to_words<V>, &pixels_to_words<V>,    &quantize_to_words<V>, &add_range<V>,
          &quantize_rows<V>,     &integers_to_floats<V>, &round_to_floats<V>,   &scale_rows<V>};
}

}  // namespace
}  // namespace loopwright
