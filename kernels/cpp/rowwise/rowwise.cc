#include "loopwright/rowwise.h"

#include <stdexcept>

#include "core/split.h"
#include "loopwright/thread_pool.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

const RowOperatorDef& find_row_operator(const std::string& name) {
  std::string known;
  for (const RowOperatorDef& def : kRowOperators) {
    if (name == def.name) return def;
    known += (known.empty() ? "" : ", ") + std::string(def.name);
  }
  throw std::invalid_argument("unknown row-wise operator '" + name + "'; choose from: " + known);
}

void run_rows(RowOperator op, const RowArgs& args, Isa isa, int threads) {
  const RowFunction compute = kernel_table(isa).rows[static_cast<int>(op)];
  const int workers = threads_worth((args.residual ? 3 : 2) * args.rows * args.n, threads);
  // Captures values, not references: the other cores fetch the closure alone.
  parallel(workers, [=](int thread) {
    const int64_t begin = split_begin(args.rows, workers, thread), at = begin * args.n;
    RowArgs part = args;
    part.x += at;
    part.residual = args.residual ? args.residual + at : nullptr;
    part.out += at;
    part.rows = split_begin(args.rows, workers, thread + 1) - begin;
    compute(part);
  });
}

}  // namespace loopwright
