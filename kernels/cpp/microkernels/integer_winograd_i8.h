// The transforms of integer_winograd.h, templated over a vector type V whose words are pairs of int16.
#pragma once

#include "microkernels/activations_f32.h"
#include "microkernels/integer_winograd.h"
#include "microkernels/kernel_table.h"
#include "microkernels/rounded_sum.h"
#include "microkernels/vector_access.h"
#include "microkernels/winograd_f32.h"

namespace loopwright {
namespace {

// The transforms of one dimension are those of float32, WinogradInput4 and WinogradOutput2, with the arithmetic of integers.
template <class V>
struct PairsOfInt16 {
  using Reg = typename V::Int;
  static Reg add(Reg a, Reg b) { return V::add_halves(a, b); }
  static Reg sub(Reg a, Reg b) { return V::subtract_halves(a, b); }
};

template <class V>
struct SumsInInt32 {
  using Reg = typename V::Reg;
  static Reg add(Reg a, Reg b) { return V::add_sums(a, b); }
  static Reg sub(Reg a, Reg b) { return V::subtract_sums(a, b); }
};

template <class V>
void integer_winograd_input(const IntegerWinogradInput& args) {
  using Pairs = typename V::Int;
  using Transform = WinogradInput4<PairsOfInt16<V>>;
  for (int64_t w = 0; w < args.words; w += V::kLanes) {
    Pairs columns[4][4];  // [column][row] of Bᵀ d
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      Pairs d[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        d[i] = V::load_words(args.d + i * args.row_stride + j * args.pixel_stride + V::kProducts * w);
      Transform::apply(d, columns[j]);
    }
    float* to = args.v + w;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      Pairs row[4], v[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) row[j] = columns[j][i];
      Transform::apply(row, v);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j, to += args.place_stride) V::store_words(to, v[j]);
    }
  }
}

template <class V>
void integer_winograd_output(const IntegerWinogradOutput& args) {
  using Reg = typename V::Reg;
  const typename V::NarrowReader reader(args.quantization->residual);
  const RoundedSum<V> rounded(args.quantization->sum);
  const bool rounds = args.quantization->sum.steps != 0.0f;
  const typename V::NarrowWriter writer(args.quantization->out);
  const Reg x_scale = V::set1(args.quantization->x.scale), factor = V::set1(args.quantization->factor);
  const float unit = args.quantization->unit;
  const Reg units = V::set1(unit), lo = V::set1(args.lo * unit), hi = V::set1(args.hi * unit);
  using Transform = WinogradOutput2<SumsInInt32<V>>;
  for (int c = 0; c < args.n; c += V::kLanes) {
    Reg columns[4][2];  // [column][row] of Aᵀ M
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      Reg m[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) m[i] = V::load(args.m + (4 * i + j) * args.place_stride + c);
      Transform::apply(m, columns[j]);
    }
    const int left = args.n - c;
    const auto mask = V::mask(left < V::kLanes ? left : V::kLanes);
    const Reg scale = V::mul(V::mul(V::load(args.scales + c), x_scale), factor);
    const Reg bias = args.bias ? V::mul(V::load(args.bias + c), factor) : V::zero();
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      if (i >= args.rows) break;
      Reg row[4], sums[2];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) row[j] = columns[j][i];
      Transform::apply(row, sums);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        if (j >= args.columns) break;
        Reg y = V::fma(V::to_float(V::quarter(sums[j])), scale, bias);
        if (rounds) y = rounded(y);
        const int64_t from = i * args.residual_row_stride + j * args.residual_pixel_stride + c;
        if (args.residual) y = V::fma(V::load(args.residual + from, mask), units, y);
        if (args.rounded_residual) y = reader.add(y, args.rounded_residual + from, mask);
        y = V::min(hi, V::max(lo, y));  // in this order NaN passes through
        if (args.slopes) y = Prelu::apply<V>(y, V::load(args.slopes + c));
        const int64_t to = i * args.row_stride + j * args.pixel_stride + c;
        if (args.y) {
          V::store(args.y + to, y, mask);
        } else {
          writer.store(args.rounded + to, y, mask);
        }
      }
    }
  }
}

template <class V>
IntegerWinogradFunctions integer_winograd_functions() {
  return {&integer_winograd_input<V>, &integer_winograd_output<V>};
}

}  // namespace
}  // namespace loopwright
