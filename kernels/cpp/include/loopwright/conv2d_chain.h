// Chains of convolutions, computed slab by slab: the output of one is still in L2 when the next one reads it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "loopwright/conv2d.h"
#include "loopwright/matrix.h"

namespace loopwright {

class Conv2dChain {
 public:
  // One convolution in float32 or bfloat16. Its output is of either type; those of stages before the last are stored in L2.
  struct Stage {
    Conv2dGeometry geometry;
    Conv2dWeights& weights;  // need not outlive the constructor
    Dtype out = Dtype::kFloat32;
  };

  // The first stage reads `images`, every other stage the output of the one before it. Computes `rows` rows of the last
  // output at a time, or as many as fit L2. Each stage uses its default schedule without Winograd's algorithms. Throws
  // std::invalid_argument if there is no stage, an image becomes empty, the channels of two stages differ, or rows is
  // below 1.
  Conv2dChain(const std::vector<Stage>& stages, const Images& images, const Target& target, int threads,
              std::optional<int64_t> rows);

  // x (n, h, w, c of the first stage) -> out (n, oh, ow, o of the last), of the last stage's type. residual is like out, or
  // null. The last stage adds it. It may be x if that has its shape. `out` must overlap neither. Thread-safe.
  void run(const void* x, Dtype x_dtype, void* out, const void* residual, Dtype residual_dtype) const;

  int64_t rows() const { return rows_; }

 private:
  // Rows begin..end - 1 of an image.
  struct Rows {
    int64_t begin, end;
    int64_t count() const { return end - begin; }
  };
  struct Link {
    Images in;  // one image
    Conv2dGeometry geometry;
    int64_t oh, ow;
    Dtype out;
    std::unique_ptr<const Conv2d> op;
    int64_t row_bytes() const { return ow * geometry.o * element_bytes(out); }
  };

  // Computes rows of the output of one image, with its slabs in `slabs`.
  void run_range(const Matrix& x, const Matrix& out, const Matrix& residual, Rows range, char* slabs) const;
  // Returns the input rows that rows of the output depend on.
  static Rows under(const Link& link, Rows rows);
  // Returns the rows that each stage computes for `rows` rows of the last output.
  std::vector<int64_t> slab_rows(int64_t rows) const;
  // Returns the bytes of the slabs of all stages but the last, each a multiple of a cache line.
  int64_t slab_bytes(const std::vector<int64_t>& heights) const;

  int64_t images_ = 0;
  int threads_;
  int64_t rows_ = 1;
  std::vector<int64_t> heights_;  // slab_rows(rows_)
  std::vector<Link> links_;
};

// The schedule of a chain is the number of rows of the last output that it computes at a time.
int64_t parse_chain_rows(const ScheduleValues& values);
ScheduleValues chain_values(int64_t rows);

}  // namespace loopwright
