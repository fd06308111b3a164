// Panels: the weights of a matrix product, packed in the order in which the microkernels read them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"

namespace loopwright {

// nr packed columns, the first n of which are columns of the matrix, starting with `column`. k rows of nr floats at `offset`.
// A panel that is narrower than a vector has no vectors, and the layout of microkernels/narrow_f32.h.
struct Panel {
  int64_t offset, column;
  int vectors, nr, n;
  int64_t alike = 1;  // number of panels from this one on that are full, equally wide and adjacent in memory
};

// The rows of panels: a sum over `runs` runs of k each, which a narrow panel pads to whole vectors.
struct PanelRows {
  int64_t runs, k;
  int lanes;

  int64_t count() const { return runs * k; }
  // Floats from run to run of a panel with nr columns.
  int64_t run_floats(int nr) const { return (nr < lanes ? (k + lanes - 1) / lanes * lanes : k) * nr; }
  // Floats of all panels of n columns, if they are at most nr wide.
  int64_t packed_floats(int64_t n, int nr) const {
    return nr < lanes ? runs * run_floats(nr) / nr * n : (n + lanes - 1) / lanes * lanes * count();
  }
};

// Splits n columns into panels of at most nr columns. The columns, or vectors of them, are spread evenly, so the last panel is
// not much narrower. The wider panels come first.
std::vector<Panel> split_panels(int64_t n, const PanelRows& rows, int nr);

// Packs W (n, rows.count()), whose rows are `stride` floats apart: row j of W becomes column j of the panels. Stores each
// panel at its offset from `to`, on `threads` threads.
void pack_panels(const std::vector<Panel>& panels, const float* w, int64_t stride, const PanelRows& rows, float* to,
                 int threads);

}  // namespace loopwright
