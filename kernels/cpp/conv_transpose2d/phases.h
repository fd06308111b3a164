// Phases of a transposed convolution: the outputs at distance (stride_h, stride_w) from each other are an ordinary
// convolution of stride 1. Along one axis, with stride s and padding p,
//
//   y[s·q + r] = Σ over taps i with (r + p - i·dilation) divisible by s   x[q + (r + p - i·dilation) / s] · w[i]
//
// so phase r has the taps of one remainder, in mirrored order.
#pragma once

#include <cstdint>
#include <vector>

#include "gemm/panels.h"
#include "loopwright/conv_transpose2d.h"
#include "loopwright/machine_model.h"

namespace loopwright {

// A part of a sum that is contiguous in the image and in the packed weights: k floats from a pixel's first channel on, or
// from the first one of its group.
struct PhaseRun {
  int64_t row, column, k;
};

// One product: rows are input pixels of a row, columns the output channels of one phase or of several merged ones.
//
//   1 × 1                  one phase, whose outputs are stride_w pixels apart
//   1 × stride_w           all phases of an output row: outputs of a row of the product are adjacent
//   stride_h × stride_w    all phases, if their channels fit one vector: outputs go to several rows
struct Phase {
  int64_t row, column;                  // the first output pixel
  int64_t merged_rows, merged_columns;  // the phases that are columns of the product
  int64_t first_column, last_column;    // the offsets of the first and the last pixel that an output adds
  std::vector<PhaseRun> runs;           // all of the same k; empty if the kernel has no tap for these outputs
  std::vector<Panel> panels;            // offsets are from the start of all weights

  int64_t merged() const { return merged_rows * merged_columns; }
};

// The phases of a transposed convolution, with a weight matrix of (columns, k) for each, and the floats of all panels.
struct Phases {
  std::vector<Phase> phases;
  int64_t packed_floats = 0;
  int lanes = 0;
};

// Divides the convolution into phases. Merges phases if that takes no more cycles; those of a row only if the width of the
// output is a multiple of the stride. Chooses the register tile for rows of `width` pixels.
Phases divide_into_phases(const ConvTranspose2dGeometry& g, const Target& target, int64_t width);

// Packs the weight (c, o / groups, kh, kw) into the panels of all phases, from `to` on.
void pack_phases(const Phases& phases, const ConvTranspose2dGeometry& g, const float* weight, float* to);

}  // namespace loopwright
