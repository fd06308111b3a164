// softmax(scale · q·kᵀ + mask) · v a head, as loops around the batch-reduce GEMM microkernel.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "loopwright/brgemm.h"
#include "loopwright/panels.h"

namespace loopwright {

// What can be decided about attention; any legal value gives the same answer.
//
//   scores_mr × scores_nr  the register tile of q·kᵀ
//   values_mr × values_nr  the register tile of softmax·v
//   rows     queries of one head a block: their scores stay in cache from the first product to the second
//   threads  how many take part, each with nearly the same number of blocks
struct AttentionSchedule {
  int scores_mr = 1, scores_nr = 1;
  int values_mr = 1, values_nr = 1;
  int64_t rows = 1;
  int threads = 1;
};

struct AttentionShape {
  int64_t batch, heads, queries, keys, head_dim;
};

// An array whose element (batch, row, head, i) lies at data + batch * batch_stride + row * row_stride + head *
// head_stride
// + i. A stride may be 0.
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

// Good without a search.
AttentionSchedule default_attention_schedule(Isa isa, const AttentionShape& shape, int threads);

class Attention {
 public:
  // Throws std::invalid_argument where the schedule has no microkernel on this ISA or its sizes are not positive.
  Attention(int64_t heads, int64_t head_dim, std::optional<float> scale, Isa isa, int threads,
            std::optional<AttentionSchedule> schedule);

  // q (batch, queries, heads, head_dim), k and v (batch, keys, heads, head_dim) -> out like q. The mask (batch,
  // queries, heads, keys), or data null, is added to the scaled scores; a query from which -inf hides every key has the
  // answer zero. `out` must overlap no other. Safe to call from several threads at once.
  void run(int64_t batch, int64_t queries, int64_t keys, const AttentionInputs& inputs, Rows<float> out) const;

  int64_t heads() const { return heads_; }
  int64_t head_dim() const { return head_dim_; }
  // What run() will use.
  AttentionSchedule schedule(int64_t batch, int64_t queries, int64_t keys) const;

 private:
  int64_t heads_, head_dim_;
  float scale_;
  Isa isa_;
  int threads_;
  std::optional<AttentionSchedule> fixed_;
};

}  // namespace loopwright
