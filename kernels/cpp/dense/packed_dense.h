// The implementation of Dense (include/loopwright/dense.h): loops around the batch-reduce GEMM microkernel.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/buffer.h"
#include "gemm/panels.h"
#include "gemm/tile_output.h"
#include "loopwright/dense.h"
#include "strassen.h"

namespace loopwright {

class PackedDense {
 public:
  PackedDense(const Matrix& weight, int64_t n, int64_t k, const float* bias, Activation activation, Isa isa,
              int threads, const std::optional<DenseSchedule>& schedule);

  // Like Dense::run. second_residual is another residual in float32, under the same rules.
  void run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual,
           const Matrix& second_residual = {}) const;

  // Makes run() prefetch the first weights of the layer that runs next while its own last weights are in use. Both layers
  // run on one thread, and `next` must outlive this one.
  void prefetch_layer(const PackedDense& next);

  void evict_weights() const;

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  Dtype dtype() const { return dtype_; }
  DenseSchedule schedule(int64_t m) const;

 private:
  struct Rectangle {
    int64_t row_begin, row_end, panel_begin, panel_end;
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

  void pack(const Matrix& weight);
  void run_rectangle(const Rectangle& part, const DenseSchedule& s, const Matrix& x, const TileOutput& output,
                     const Scratch& scratch) const;
  void run_reference(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual,
                     const Matrix& second_residual) const;

  int64_t n_, k_;
  Activation activation_;
  Isa isa_;
  Dtype dtype_;
  int threads_;
  std::optional<DenseSchedule> fixed_;
  int nr_ = 1;
  Buffer weight_, bias_;
  std::vector<Panel> panels_;
  Span next_layer_{};                         // the first weights of the layer that runs next
  std::unique_ptr<const Strassen> strassen_;  // if the schedule selects it; nothing else is packed then
};

}  // namespace loopwright
