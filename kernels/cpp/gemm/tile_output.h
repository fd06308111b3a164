// The start and the end of a register tile: bias and residual, the epilogue inside the microkernel, the activation on the
// finished tile, and rounding to the dtype of the output.
//
// Partial sums are float32. A float32 output stores them itself. For an output of another dtype they are in memory of the
// caller, which is in L1 if the sum is one block of k. Sums of integers have no partial sums.
#pragma once

#include <limits>

#include "gemm/epilogue.h"
#include "gemm/panels.h"
#include "gemm/tile_quantization.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/matrix.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

class TileOutput {
 public:
  // The arrays of the epilogue are for all columns. The residual has the dtype of the layer, or float32; integers are those
  // of the quantization. The second residual has float32, and sums of floats alone have one. Both have null data if absent, and
  // may be `out` itself.
  TileOutput(const KernelTable& kernels, const LayerEpilogue& epilogue, Matrix out, Matrix residual,
             Matrix second_residual = {})
      : kernels_(kernels),
        epilogue_(is_integer(out.dtype) ? Epilogue::of_slopes(epilogue.activation, epilogue.slopes, kernels)
                                        : Epilogue::of_tiles(epilogue.activation, epilogue.slopes, kernels)),
        quantization_(tile_quantization(epilogue.quantization, out.dtype, epilogue.activation)),
        bias_(epilogue.bias),
        scales_(epilogue.quantization.weight_scales),
        weight_sums_(epilogue.quantization.weight_sums),
        out_(out),
        residual_(residual),
        second_residual_(second_residual) {}

  // The part of the sum over k that a call adds.
  struct Part {
    bool first, last;
  };

  // Returns the largest number of tiles of a series, across equal panels or down the rows of one. With an activation, the tiles
  // must still be in L1 when it runs.
  int64_t most_in_series(const BrgemmArgs& args, Part part) const {
    // Before it is rounded, a function changes the tile in memory of the caller, which has room for one.
    const bool in_memory = out_.dtype != Dtype::kFloat32 && epilogue_.activate;
    const bool alone = !part.first || !part.last || in_memory || args.prefetch != 0;
    constexpr int64_t kInL1 = 4;
    return alone ? 1 : epilogue_.activate ? kInL1 : std::numeric_limits<int64_t>::max();
  }

  // Not copied: calls of microkernels keep its address.
  TileOutput(const TileOutput&) = delete;
  TileOutput& operator=(const TileOutput&) = delete;

  // Adds a part of the sum to the tile of mr rows from `row` on and the columns of the panel. The last part finishes the
  // tile. The caller sets the fields of `args` for A, B, k and prefetches. `sums` are the partial sums of the tile if the
  // output is not float32, with rows `sums_stride` floats apart. A series goes across panels if B has a step, otherwise down
  // the rows.
  void run(BrgemmArgs& args, int64_t row, int mr, const Panel& panel, Part part, float* sums,
           int64_t sums_stride) const {
    const bool in_place = out_.dtype == Dtype::kFloat32;
    args.c = in_place ? out_.at<float>(row, panel.column) : sums;
    args.c_stride = in_place ? out_.stride : sums_stride;
    args.n = panel.n;
    args.accumulate = !part.first;
    const bool across = args.b_step != 0;
    args.c_step = across ? panel.nr : mr * args.c_stride;
    TileEpilogue& epilogue = args.epilogue;
    epilogue.bias = bias_ ? bias_ + panel.column : nullptr;
    epilogue.scales = scales_ ? scales_ + panel.column : nullptr;
    epilogue.weight_sums = weight_sums_ ? weight_sums_ + panel.column : nullptr;
    epilogue.slopes = part.last ? epilogue_.slopes_from(panel.column) : nullptr;
    epilogue.column_step = across ? panel.nr : 0;
    epilogue.to_floats = true;
    epilogue.x = quantization_.x;
    epilogue.sum = quantization_.sum;
    epilogue.unit = quantization_.unit;
    epilogue.factor = quantization_.factor;
    // Residuals are added to the first partial sum, because partial sums may overwrite them.
    const auto added = [&](const Matrix& residual) {
      return part.first && residual.data ? tile_residual(residual, args, row, mr, panel, part.last) : TileResidual{};
    };
    epilogue.residuals[0] = added(residual_);
    epilogue.residuals[1] = added(second_residual_);
    epilogue.residuals_first = !part.last && (epilogue.residuals[0].data || epilogue.residuals[1].data);
    epilogue.activation = part.last ? static_cast<const TileActivation&>(epilogue_) : TileActivation{};
    const bool narrows = part.last && !in_place && !epilogue_.activate;
    epilogue.narrow = narrows ? out_.address(row, panel.column) : nullptr;
    epilogue.narrow_stride = out_.stride;
    epilogue.narrow_step = across ? panel.nr : mr * out_.stride;
    epilogue.rounding = quantization_.out;
    kernels_.tile(mr, panel.vectors, panel.n)(args);
    if (!part.last || !epilogue_.activate) return;
    const auto count = static_cast<int>(args.count);
    const int rows = across ? mr : mr * count, columns = across ? panel.n * count : panel.n;
    if (args.c_stride == columns) {  // as in a layer with few columns
      epilogue_.activate(args.c, 0, 1, rows * columns, nullptr);
    } else {
      epilogue_.activate(args.c, args.c_stride, rows, columns, nullptr);
    }
    if (!in_place) round(args, row, mr, panel);
  }

 private:
  TileResidual tile_residual(const Matrix& residual, const BrgemmArgs& args, int64_t row, int mr, const Panel& panel,
                             bool last) const {
    const auto step = [&](int64_t stride) { return args.b_step != 0 ? panel.nr : mr * stride; };
    if (residual.dtype == Dtype::kFloat32 || last)
      return {residual.address(row, panel.column), residual.stride, step(residual.stride), residual.dtype,
              quantization_.residual};
    kernels_.widen(residual.at<Bfloat16>(row, panel.column), residual.stride, args.c, args.c_stride, mr, panel.n);
    return {args.c, args.c_stride, step(args.c_stride)};
  }

  // Rounds a finished tile in memory of the caller.
  void round(const BrgemmArgs& args, int64_t row, int mr, const Panel& panel) const {
    if (out_.dtype == Dtype::kBfloat16)
      return kernels_.narrow(args.c, args.c_stride, out_.at<Bfloat16>(row, panel.column), out_.stride, mr, panel.n);
    kernels_.integer_rows.quantize(args.c, args.c_stride, out_.at<uint8_t>(row, panel.column), out_.stride, mr, panel.n,
                                   quantization_.out);
  }

  const KernelTable& kernels_;
  Epilogue epilogue_;
  TileQuantization quantization_;
  const float* bias_;
  const float* scales_;
  const int32_t* weight_sums_;
  Matrix out_, residual_, second_residual_;
};

}  // namespace loopwright
