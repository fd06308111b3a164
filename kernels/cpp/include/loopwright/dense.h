// y = activation(x · Wᵀ + bias + residual) as loops around the batch-reduce GEMM microkernel.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "loopwright/brgemm.h"
#include "loopwright/buffer.h"
#include "loopwright/matrix.h"
#include "loopwright/panels.h"
#include "loopwright/strassen.h"
#include "loopwright/tile_output.h"

namespace loopwright {

// What can be decided about a dense layer; any legal value gives the same answer, but for rounding.
//
//   algorithm  kStrassen: seven products of half the sizes, which round more; of the others only threads_m matters then
//   threads    threads_m × (threads / threads_m) rectangles of the output, one a thread
//   nc kc mc   per thread: for nc columns, for kc of k, for mc rows (sizes are evened out, so that no short rest is left)
//   order      within a block: n inner (a strip of A stays in L1, B streams) or m inner (a panel of B stays, A streams)
//   mr × nr    the register tile
//   pack_a     copy the mc × kc block of A first, so that its rows neither collide in the cache nor lie on many pages
//   prefetch   bytes ahead of B's stream that L1 asks for
//   prefetch_next  L2 asks for the next panel of B (m inner) or the next block of them (n inner) while the rows go over
//                  what is there
struct DenseSchedule {
  enum class Algorithm { kDirect, kStrassen };
  enum class Order { kMInner, kNInner };
  Algorithm algorithm = Algorithm::kDirect;
  int mr = 1, nr = 1;
  int64_t mc = 1, kc = 1, nc = 1;
  Order order = Order::kNInner;
  bool pack_a = false;
  int prefetch = 0;
  bool prefetch_next = false;
  int threads_m = 1;
};

// Good without a search; the reasons are in dense/default_schedule.cc. `nr` may be given, since packing precedes m.
// `fast`: by Strassen's algorithm, where it is faster.
DenseSchedule default_dense_schedule(Isa isa, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads, int nr = 0,
                                     bool fast = false);

class Dense {
 public:
  // weight (n, k), whose dtype is the layer's; bias n floats or null. Both are copied. Throws std::invalid_argument
  // where the ISA or this CPU does not have the dtype, or the schedule has no microkernel or sizes that are not
  // positive.
  Dense(Matrix weight, int64_t n, int64_t k, const float* bias, Activation activation, Isa isa, int threads,
        std::optional<DenseSchedule> schedule);

  // x (m, k) -> out (m, n). x and residual are of the layer's dtype, out is too or float32. residual (m, n), or data
  // null; it may be `out` itself, but overlap it in no other way, and `out` must not overlap x. Safe to call from
  // several threads at once. `threads` workers of the shared pool take part. Beside a residual there may be another in
  // `also`, float32 and likewise.
  void run(Matrix x, int64_t m, Matrix out, Matrix residual, Matrix also = {}) const;

  // While the last of its weights are used, run() asks L2 for the first that `next` will read: what comes after it. Each
  // on one thread. `next` has to outlive it.
  void ask_ahead(const Dense& next);

  // Puts the packed weights out of all caches, as the other layers of a network do: for measuring.
  void evict_weights() const;

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  Dtype dtype() const { return dtype_; }
  // What run() will use for m rows.
  DenseSchedule schedule(int64_t m) const;

 private:
  struct Rectangle {
    int64_t row_begin, row_end, panel_begin, panel_end;
  };

  // Memory of one thread's: for a packed block of A, where the schedule packs it, and for partial sums, where the
  // output is not float32.
  struct Scratch {
    float* a;
    float* sums;
    int64_t sums_stride;
  };

  // Floats that lie one after the other.
  struct Span {
    const float* data = nullptr;
    int64_t floats = 0;
  };

  void pack(const Matrix& weight);
  void run_rectangle(const Rectangle& part, const DenseSchedule& s, const Matrix& x, const TileOutput& output,
                     const Scratch& scratch) const;
  void run_reference(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual, const Matrix& also) const;

  int64_t n_, k_;
  Activation activation_;
  Isa isa_;
  Dtype dtype_;
  int threads_;
  std::optional<DenseSchedule> fixed_;
  int nr_ = 1;
  Buffer weight_, bias_;
  std::vector<Panel> panels_;
  Span ahead_{};                              // what comes after
  std::unique_ptr<const Strassen> strassen_;  // where the schedule wants it; then nothing else is packed
};

}  // namespace loopwright
