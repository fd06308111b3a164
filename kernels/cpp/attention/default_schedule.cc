// Default schedules of attention. The register tiles are those of dense layers with the sizes of the two products.
#include <algorithm>

#include "core/split.h"
#include "loopwright/attention.h"
#include "loopwright/dense.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

AttentionSchedule default_attention_schedule(const Target& target, Dtype dtype, const AttentionShape& shape,
                                             int threads) {
  AttentionSchedule s;
  s.threads = threads;
  if (target.isa == Isa::kReference) return s;
  const int lanes = kernel_table(target).lanes;
  const auto product = [&](int64_t n, int64_t k) {
    const int width = n < lanes ? lanes : 0;  // the tiles that are narrower than a vector are for layers
    return default_dense_schedule(target, dtype, shape.queries, n, k, 1, false, width);
  };
  const DenseSchedule scores = product(shape.keys, shape.head_dim), values = product(shape.head_dim, shape.keys);
  s.scores_mr = scores.mr;
  s.scores_nr = scores.nr;
  s.values_mr = values.mr;
  s.values_nr = values.nr;
  // As many rows as leave room in L2 for k and v, which every block reads; but fewer if the threads would finish at different
  // times.
  const int64_t fitting = target.model->cache_bytes[1] / 4 / (shape.keys * static_cast<int64_t>(sizeof(float)));
  const int64_t least = std::min<int64_t>(shape.queries, std::max(s.scores_mr, s.values_mr));
  int64_t blocks = ceil_div(shape.queries, std::max(fitting, least));  // per head
  const auto balanced = [&] {
    const int64_t all = shape.batch * shape.heads * blocks;
    return all * 10 >= ceil_div(all, threads) * threads * 9;
  };
  while (!balanced() && shape.queries / (blocks + 1) >= least) ++blocks;
  s.rows = ceil_div(shape.queries, blocks);
  return s;
}

}  // namespace loopwright
