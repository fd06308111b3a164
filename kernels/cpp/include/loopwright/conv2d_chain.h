// Convolutions one after the other, slab by slab: what one writes is still in L2 when the next reads it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "loopwright/conv2d.h"

namespace loopwright {

class Conv2dChain {
 public:
  // One convolution on float32; weight and bias as for Conv2d, which copies them.
  struct Stage {
    Conv2dGeometry geometry;
    const float* weight;
    const float* bias;
    Activation activation;
  };

  // Stages on `images`, each on what the one before it writes. `rows` of the last output are computed at a time; null:
  // as many as fit L2. Each stage runs by its default schedule, and never by Winograd's algorithm. Throws
  // std::invalid_argument where there is no stage, an image becomes empty, channels do not fit, or rows is below 1.
  Conv2dChain(const std::vector<Stage>& stages, const Images& images, Isa isa, int threads,
              std::optional<int64_t> rows);

  // x (n, h, w, c of the first) -> out (n, oh, ow, o of the last). residual as out, or null; it is added by the last
  // stage, and may be x where that has its shape. `out` overlaps neither. Safe to call from several threads at once.
  void run(const float* x, float* out, const float* residual) const;

  int64_t rows() const { return rows_; }

 private:
  // Rows begin..end of an image.
  struct Rows {
    int64_t begin, end;
    int64_t count() const { return end - begin; }
  };
  struct Link {
    Images in;  // one image
    Conv2dGeometry geometry;
    int64_t oh, ow;
    std::unique_ptr<const Conv2d> op;
    int64_t row_floats() const { return ow * geometry.o; }
  };

  // Rows of one image's output, with slabs in `slabs`.
  void run_range(const float* x, float* out, const float* residual, Rows range, float* slabs) const;
  // The input rows that rows of the output are computed from.
  static Rows under(const Link& link, Rows rows);
  // Rows that each stage computes for `rows` rows of the last output, and what the slabs of all but the last then take.
  std::vector<int64_t> slab_rows(int64_t rows) const;
  int64_t slab_floats(const std::vector<int64_t>& heights) const;

  int64_t images_ = 0;
  int threads_;
  int64_t rows_ = 1;
  std::vector<int64_t> heights_;  // slab_rows(rows_)
  std::vector<Link> links_;
};

}  // namespace loopwright
