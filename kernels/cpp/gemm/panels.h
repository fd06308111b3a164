// Panels: the weights of a matrix product, packed in the order in which the microkernels read them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"

namespace loopwright {

// nr packed columns, the first n of which are columns of the matrix, starting with `column`. k rows of nr floats at `offset`.
struct Panel {
  int64_t offset, column;
  int vectors, nr, n;
  int64_t alike = 1;  // number of panels from this one on that are full, equally wide and adjacent in memory
};

// Splits n columns into panels of at most nr columns. The vectors of columns are spread evenly, so the last panel is not
// narrow. The wider panels come first.
std::vector<Panel> split_panels(int64_t n, int64_t k, int nr, int lanes);

// Returns the floats of the panels of n columns and k rows.
int64_t packed_floats(int64_t n, int64_t k, int lanes);

// Packs W (n, k), whose rows are `stride` floats apart: row j of W becomes column j of the panels. Stores each panel at its
// offset from `to`, on `threads` threads.
void pack_panels(const std::vector<Panel>& panels, const float* w, int64_t stride, int64_t k, float* to, int threads);

}  // namespace loopwright
