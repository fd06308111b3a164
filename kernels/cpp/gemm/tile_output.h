// What a register tile begins with and where it ends: bias and residual, the clamp inside the microkernel, the
// activation on the finished tile, and rounding to the output's type.
//
// Partial sums are float32. A float32 output holds them itself; for a bfloat16 one they stay in memory of the caller's,
// in L1 where the sum is one block of k.
#pragma once

#include <limits>
#include <utility>

#include "gemm/epilogue.h"
#include "gemm/panels.h"
#include "loopwright/matrix.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

class TileOutput {
 public:
  // bias: of all columns, or null. A residual is of the type that is multiplied, or has no data; it may be `out`
  // itself. Beside one, there may be another of float32, likewise.
  TileOutput(const KernelTable& kernels, Activation activation, const float* bias, Matrix out, Matrix residual,
             Matrix second_residual = {})
      : kernels_(kernels),
        epilogue_(Epilogue::in_registers(activation, kernels)),
        bias_(bias),
        out_(out),
        residual_(residual),
        second_residual_(second_residual) {}

  // Which part of the sum over k a call adds.
  struct Part {
    bool first, last;
  };

  // Of how many tiles that begin with one of this panel a series may be, across panels like it or down its rows. Their
  // activation must find them in L1.
  int64_t most_in_series(const BrgemmArgs& args, const Panel& panel, Part part) const {
    const bool partial = panel.n != panel.nr && !kernels_.masks_are_free;
    const bool widened = residual_.data && residual_.dtype != Dtype::kFloat32;
    const bool alone =
        !part.first || !part.last || out_.dtype != Dtype::kFloat32 || partial || args.prefetch != 0 || widened;
    constexpr int64_t kInL1 = 4;
    return alone ? 1 : epilogue_.activate ? kInL1 : std::numeric_limits<int64_t>::max();
  }

  // Adds a part of the sum to the tile of mr rows from `row` on and the panel's columns; the last part finishes it. The
  // caller sets what `args` says of A, B, k and prefetches. `sums` are the tile's partial sums, rows `sums_stride`
  // floats apart, where the output is not float32. A series goes across panels where B has a step, else down the rows.
  void run(BrgemmArgs& args, int64_t row, int mr, const Panel& panel, Part part, float* sums,
           int64_t sums_stride) const {
    const bool in_place = out_.dtype == Dtype::kFloat32;
    args.c = in_place ? out_.at<float>(row, panel.column) : sums;
    args.c_stride = in_place ? out_.stride : sums_stride;
    args.n = panel.n;
    // Bias and residual join the first partial sum, not the last: the residual may lie where partial sums will.
    args.accumulate = !part.first;
    args.bias = bias_ ? bias_ + panel.column : nullptr;
    args.residual = args.late_residual = nullptr;
    if (part.first && residual_.data) add_residual(args, row, mr, panel);
    args.second_residual =
        part.first && second_residual_.data ? second_residual_.at<float>(row, panel.column) : nullptr;
    args.second_residual_stride = second_residual_.stride;
    if (part.last) std::swap(args.residual, args.late_residual);
    args.lo = part.last ? epilogue_.lo : -Epilogue::kInfinity;
    args.hi = part.last ? epilogue_.hi : Epilogue::kInfinity;
    args.hard_swish = epilogue_.hard_swish && part.last;
    const bool rounds = part.last && !in_place && !epilogue_.activate;
    args.rounded = rounds ? out_.at<Bfloat16>(row, panel.column) : nullptr;
    args.rounded_stride = out_.stride;
    const bool across = args.b_step != 0;
    args.c_step = across ? panel.nr : mr * args.c_stride;
    args.residual_step = across ? panel.nr : mr * args.residual_stride;
    args.second_residual_step = across ? panel.nr : mr * args.second_residual_stride;
    args.bias_step = across ? panel.nr : 0;
    kernels_.tile(mr, panel.vectors, panel.n)(args);
    if (!part.last || !epilogue_.activate) return;
    const auto count = static_cast<int>(args.count);
    epilogue_.activate(args.c, args.c_stride, across ? mr : mr * count, across ? panel.n * count : panel.n);
    if (!in_place)
      kernels_.narrow(args.c, args.c_stride, out_.at<Bfloat16>(row, panel.column), out_.stride, mr, panel.n);
  }

 private:
  void add_residual(BrgemmArgs& args, int64_t row, int mr, const Panel& panel) const {
    if (residual_.dtype == Dtype::kFloat32) {
      args.residual = residual_.at<float>(row, panel.column);
      args.residual_stride = residual_.stride;
      return;
    }
    kernels_.widen(residual_.at<Bfloat16>(row, panel.column), residual_.stride, args.c, args.c_stride, mr, panel.n);
    args.residual = args.c;
    args.residual_stride = args.c_stride;
  }

  const KernelTable& kernels_;
  Epilogue epilogue_;
  const float* bias_;
  Matrix out_, residual_, second_residual_;
};

}  // namespace loopwright
