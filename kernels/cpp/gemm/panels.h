// The weights of a matrix product as the microkernels read them: panels of columns.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"

namespace loopwright {

// nr packed columns, of which n are real: k rows of nr floats at `offset`. The first is `column` of the whole.
struct Panel {
  int64_t offset, column;
  int vectors, nr, n;
  int64_t alike = 1;  // panels from here on that are as wide and whole, next to each other in memory
};

// n columns as panels of up to nr. The vectors of columns are dealt out evenly, so that the last panel is not a thin
// one; the wider panels come first.
std::vector<Panel> split_panels(int64_t n, int64_t k, int nr, int lanes);

// Floats that the panels of n columns and k rows take.
int64_t packed_floats(int64_t n, int64_t k, int lanes);

// Row j of W (n, k), whose rows are `stride` floats apart, is column j of the panels: writes each panel at its offset
// from `to`, `threads` threads at them together.
void pack_panels(const std::vector<Panel>& panels, const float* w, int64_t stride, int64_t k, float* to, int threads);

}  // namespace loopwright
