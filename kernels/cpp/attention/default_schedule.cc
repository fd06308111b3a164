// The schedule of attention without a search: both register tiles are those of the dense layers that the products are.
#include <algorithm>

#include "loopwright/attention.h"
#include "loopwright/dense.h"
#include "loopwright/machine.h"
#include "loopwright/split.h"

namespace loopwright {

AttentionSchedule default_attention_schedule(Isa isa, const AttentionShape& shape, int threads) {
  AttentionSchedule s;
  s.threads = threads;
  if (isa == Isa::kReference) return s;
  const DenseSchedule scores = default_dense_schedule(isa, shape.queries, shape.keys, shape.head_dim, 1);
  const DenseSchedule values = default_dense_schedule(isa, shape.queries, shape.head_dim, shape.keys, 1);
  s.scores_mr = scores.mr;
  s.scores_nr = scores.nr;
  s.values_mr = values.mr;
  s.values_nr = values.nr;
  // Scores that stay in L1 are the cheapest to come back to, but every tile of fewer rows reads all of k and v again.
  const int64_t in_l1 = cache_bytes()[0] / 2 / (shape.keys * static_cast<int64_t>(sizeof(float)));
  const int64_t rows = std::min(shape.queries, std::max<int64_t>(in_l1, std::max(s.scores_mr, s.values_mr)));
  s.rows = ceil_div(shape.queries, ceil_div(shape.queries, rows));
  return s;
}

}  // namespace loopwright
