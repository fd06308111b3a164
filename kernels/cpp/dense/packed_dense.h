// Dense layers by the direct sum: loops around the batch-reduce GEMM microkernel.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "dense_panels.h"
#include "gemm/input_words.h"
#include "gemm/tile_output.h"
#include "loopwright/dense.h"

namespace loopwright {

class PackedDense {
 public:
  // Without a schedule, each run uses the default one for its rows. The nr of a schedule must be that of the panels.
  PackedDense(std::shared_ptr<const DensePanels> panels, int threads, const std::optional<DenseSchedule>& schedule);

  // Like Dense::run. second_residual is another residual in float32, under the same rules.
  void run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual,
           const Matrix& second_residual = {}) const;
  // The same with a schedule of these panels, which products of equal sizes choose once.
  void run(const DenseSchedule& schedule, const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual,
           const Matrix& second_residual = {}) const;

  // Makes run() prefetch the first weights of the layer that runs next while its own last weights are in use. Both layers
  // run on one thread, and `next` must outlive this one.
  void prefetch_layer(const PackedDense& next);

  void evict_weights() const { panels_->evict_weights(threads_); }

  // x_stride: the distance of the rows of x in elements, or 0 for k.
  DenseSchedule schedule(int64_t m, int64_t x_stride = 0) const;

 private:
  struct Rectangle {
    int64_t row_begin, row_end, panel_begin, panel_end;
    int64_t panel_last;  // where the panels end that probably follow on this thread
  };

  // Memory of one thread: for a packed block of A if the schedule packs it, and for partial sums if the output is not
  // float32.
  struct Scratch {
    float* a;
    float* sums;
    int64_t sums_stride;
  };

  // Contiguous floats.
  struct Span {
    const float* data = nullptr;
    int64_t floats = 0;
  };

  void run_rectangle(const Rectangle& part, const DenseSchedule& s, const Matrix& x, const InputWords& words,
                     const TileOutput& output, const Scratch& scratch) const;
  void run_reference(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual,
                     const Matrix& second_residual) const;

  std::shared_ptr<const DensePanels> panels_;
  int threads_;
  std::optional<DenseSchedule> fixed_;
  Span next_layer_{};  // the first weights of the layer that runs next
};

}  // namespace loopwright
