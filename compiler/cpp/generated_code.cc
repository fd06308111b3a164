#include "generated_code.h"

#include <tvm/ffi/c_api.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <atomic>

#include "loopwright/thread_pool.h"
#include "loopwright/topology.h"

namespace loopwright {
namespace {

thread_local int allowed_threads = 0;

// The default number of threads of this process. Read once, because a loop may take less time than reading it.
int default_threads() {
  static const int threads = Topology::read().default_threads();
  return threads;
}

// The status of the first task that failed, and its error. A failed task leaves the error on its own thread, from where
// it is moved to the caller's.
class Failure {
 public:
  void record(int status, int task) {
    int none = 0;
    if (!status_.compare_exchange_strong(none, status, std::memory_order_acq_rel)) return;
    if (task != 0) TVMFFIErrorMoveFromRaised(&error_);
  }
  int raise() const {
    if (error_) {
      TVMFFIErrorSetRaised(error_);
      TVMFFIObjectDecRef(error_);
    }
    return status_.load(std::memory_order_acquire);
  }

 private:
  std::atomic<int> status_{0};
  TVMFFIObjectHandle error_ = nullptr;
};

}  // namespace

int set_generated_code_threads(int threads) {
  const int before = allowed_threads;
  allowed_threads = threads;
  return before;
}

int generated_code_threads() { return allowed_threads > 0 ? allowed_threads : default_threads(); }

void share_thread_pool() {
  const auto put = [](const char* name, auto* function) {
    TVM_FFI_CHECK_SAFE_CALL(TVMFFIEnvModRegisterContextSymbol(name, reinterpret_cast<void*>(function)));
  };
  put("__TVMBackendParallelLaunch", &loopwright_parallel_launch);
  put("__TVMBackendParallelBarrier", &loopwright_parallel_barrier);
}

}  // namespace loopwright

int loopwright_parallel_launch(loopwright::Task task, void* closure, int tasks) {
  using namespace loopwright;
  const int threads = generated_code_threads();
  const int count = tasks > 0 ? std::min(tasks, threads) : threads;
  if (count > 1) {
    SpinBarrier barrier;
    TaskGroup group{&barrier, count};
    Failure failure;
    auto body = [&](int t) {
      if (const int status = task(t, &group, closure)) failure.record(status, t);
    };
    if (try_run_on_pool(count, ThreadBody(body))) return failure.raise();
  }
  TaskGroup alone{nullptr, 1};
  return task(0, &alone, closure);
}

int loopwright_parallel_barrier(int, loopwright::TaskGroup* group) {
  if (group->tasks > 1) static_cast<loopwright::SpinBarrier*>(group->barrier)->wait(group->tasks);
  return 0;
}
