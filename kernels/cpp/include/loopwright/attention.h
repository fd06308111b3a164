// Attention: softmax(scale · q·kᵀ + mask) · v for each head.
#pragma once

#include <cstdint>
#include <optional>

#include "loopwright/dtype.h"
#include "loopwright/machine_model.h"
#include "loopwright/schedule_values.h"

namespace loopwright {

// Every legal schedule computes the same result up to rounding.
//
//   scores_mr × scores_nr  the register tile of q·kᵀ
//   values_mr × values_nr  the register tile of the product with v
//   rows     queries of one head per block. The scores of a block stay in cache from the first product to the second.
//   threads  number of threads, each with nearly the same number of blocks
struct AttentionSchedule {
  int scores_mr = 1, scores_nr = 1;
  int values_mr = 1, values_nr = 1;
  int64_t rows = 1;
  int threads = 1;
};

struct AttentionShape {
  int64_t batch, heads, queries, keys, head_dim;
};

// An array whose element (batch, row, head, i) is at
//   data + batch * batch_stride + row * row_stride + head * head_stride + i.
// A stride may be 0.
template <class T>
struct Rows {
  T* data;
  int64_t batch_stride, row_stride, head_stride;

  T* at(int64_t batch, int64_t row, int64_t head) const {
    return data + batch * batch_stride + row * row_stride + head * head_stride;
  }
};

struct AttentionInputs {
  Rows<const float> q, k, v, mask;
};

// Returns a good schedule without a search.
AttentionSchedule default_attention_schedule(const Target& target, Dtype dtype, const AttentionShape& shape,
                                             int threads);

// Throws std::invalid_argument if an entry is missing or has the wrong type. Ignores unknown entries.
AttentionSchedule parse_attention_schedule(const ScheduleValues& values);
ScheduleValues to_values(const AttentionSchedule& s);

class Attention {
 public:
  // or_zero: whether the weights of a query that are NaN count as zeros. Weights are NaN if its scores contain NaN or
  // +inf, or if all of its keys are masked by -inf.
  // dtype: float32, or bfloat16 to which the factors of both products are rounded. Sums and the softmax are float32.
  // Throws std::invalid_argument if the schedule has no microkernel on this ISA or a size that is not positive, or for another
  // dtype.
  Attention(int64_t heads, int64_t head_dim, std::optional<float> scale, Target target, int threads,
            std::optional<AttentionSchedule> schedule, bool or_zero = false, Dtype dtype = Dtype::kFloat32);

  // q (batch, queries, heads, head_dim), k and v (batch, keys, heads, head_dim) -> out like q. The mask (batch, queries,
  // heads, keys) is added to the scaled scores; its data is null if absent. A query whose keys are all masked by -inf
  // gives NaN. `out` must not overlap an input. Thread-safe.
  void run(int64_t batch, int64_t queries, int64_t keys, const AttentionInputs& inputs, Rows<float> out) const;

  int64_t heads() const { return heads_; }
  int64_t head_dim() const { return head_dim_; }
  // Returns the schedule that run() uses.
  AttentionSchedule schedule(int64_t batch, int64_t queries, int64_t keys) const;

 private:
  int64_t heads_, head_dim_;
  float scale_;
  Target target_;
  int threads_;
  std::optional<AttentionSchedule> fixed_;
  bool or_zero_;
  Dtype dtype_;
};

}  // namespace loopwright
