// Dense layers: y = activation(x · Wᵀ + bias + residual).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "loopwright/dtype.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/machine_model.h"
#include "loopwright/matrix.h"
#include "loopwright/schedule_values.h"
#include "loopwright/thread_split.h"

namespace loopwright {

// The schedule of a dense layer. Every legal schedule computes the same result up to rounding.
//
//   algorithm  kStrassen computes seven products of half the sizes, which round more. It uses `threads` and ignores the
//              other fields.
//   threads    rectangles of the output, one per thread
//   nc kc mc   cache blocks per thread: for nc columns, for kc of k, for mc rows. Block sizes are evened out, so that no
//              short block is left over.
//   order      inner loop of a block. n inner: a strip of A stays in L1 and B streams. m inner: a panel of B stays and A
//              streams.
//   mr × nr    the register tile
//   pack_a     copies the mc × kc block of A first, so that its rows neither conflict in the cache nor span many pages
//   prefetch   prefetch distance of B into L1, in bytes; 0 disables it
//   prefetch_next  prefetches the next panel of B (m inner) or the next block of panels (n inner) into L2 while the
//                  current one is in use
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
  ThreadSplit threads;
};

// Returns a good schedule without a search; dense/default_schedule.cc has the reasons. `fast_algorithms` allows
// Strassen's algorithm where it is faster. `packed_nr` is the nr that the weights are already packed for, or 0. `x_stride`
// is the distance of the rows of x in elements, or 0 for k.
DenseSchedule default_dense_schedule(const Target& target, Dtype dtype, int64_t m, int64_t n, int64_t k, int threads,
                                     bool fast_algorithms = false, int packed_nr = 0, int64_t x_stride = 0);

// Throws std::invalid_argument if an entry is missing or has the wrong type. Ignores unknown entries.
DenseSchedule parse_dense_schedule(const ScheduleValues& values);
ScheduleValues to_values(const DenseSchedule& s);

// Returns a good nr for weights that layers of any number of rows use. kReference: 1.
int default_dense_width(const Target& target, Dtype dtype, int64_t n, int64_t k, int threads, int64_t x_stride = 0);

struct DensePanels;
class Strassen;

// The weights of dense layers that differ only in rows, threads and schedules. Each packed form is made when a layer first
// needs it, and shared by all that do. Thread-safe.
class DenseWeights {
 public:
  // weight (n, k) defines the dtype of the layers. It and the arrays of the epilogue belong to the caller and must outlive this
  // object, but not its layers. Throws std::invalid_argument if the ISA lacks the dtype, or if the epilogue is
  // not legal.
  DenseWeights(const Matrix& weight, int64_t n, int64_t k, const LayerEpilogue& epilogue, Target target);
  DenseWeights(const DenseWeights&) = delete;
  DenseWeights& operator=(const DenseWeights&) = delete;
  ~DenseWeights();

  // Returns a good schedule of a layer whose weights are packed for layers of other numbers of rows, too: layers of all
  // numbers of rows together need only a few packed forms.
  DenseSchedule schedule(int64_t m, int threads, bool fast_algorithms) const;

  Activation activation() const { return epilogue_.activation; }

 private:
  friend class Dense;
  std::shared_ptr<const DensePanels> panels(int nr, int threads);
  std::shared_ptr<const Strassen> strassen(int threads_n);

  Matrix weight_;
  int64_t n_, k_;
  LayerEpilogue epilogue_;
  Target target_;
  // default_dense_width() of these weights; 0: not computed yet. Each size of a model needs it.
  mutable std::atomic<int> width_{0};
  std::mutex mutex_;
  std::vector<std::shared_ptr<const DensePanels>> panels_;                 // by their nr
  std::vector<std::pair<int, std::shared_ptr<const Strassen>>> strassen_;  // by their threads_n
};

class Dense {
 public:
  // weight (n, k) defines the dtype of the layer. Copies it and the epilogue. Throws std::invalid_argument if the ISA
  // lacks the dtype, if the epilogue is not legal, or if the schedule has no microkernel or a size that is not positive.
  Dense(const Matrix& weight, int64_t n, int64_t k, const LayerEpilogue& epilogue, Target target, int threads,
        const std::optional<DenseSchedule>& schedule);
  // A layer that shares its packed weights.
  Dense(DenseWeights& weights, int threads, const std::optional<DenseSchedule>& schedule);
  Dense(Dense&&) noexcept;
  ~Dense();

  // x (m, k) -> out (m, n), of the dtypes(); out and residual may have float32 as well, and so may x of a bfloat16 layer. residual
  // (m, n) has null data if absent. It may be `out` itself, but must not overlap it otherwise; `out` must not overlap x. Runs
  // on `threads` threads of the pool. Thread-safe.
  void run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual) const;

  // Evicts the packed weights from all caches, as the other layers of a network do. For measurements.
  void evict_weights() const;

  int64_t n() const;
  int64_t k() const;
  const LayerDtypes& dtypes() const;
  // Returns the schedule that run() uses for m rows.
  DenseSchedule schedule(int64_t m) const;

 private:
  class Implementation;
  std::unique_ptr<const Implementation> implementation_;
};

}  // namespace loopwright
