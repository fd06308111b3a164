// The functions that TVM's generated code calls for its parallel loops, on the kernels' thread pool. The code gets their
// addresses when it is loaded. They have the ABI of TVM's functions (tvm/runtime/c_backend_api.h), so that generated code
// and our kernels share one set of threads.
#pragma once

#include <cstdint>

namespace loopwright {

// The tasks of one parallel loop (TVMParallelGroupEnv).
struct TaskGroup {
  void* barrier;
  int32_t tasks;
};

// One task of a loop: 0 <= task < group->tasks. Returns 0, or another status if it fails (FTVMParallelLambda).
using Task = int (*)(int task, TaskGroup* group, void* closure);

// Sets how many threads a loop that the calling thread launches may use. 0, the initial value, means the
// default number of this process (topology.h). Returns the previous value.
int set_generated_code_threads(int threads);

// Returns how many threads a loop that the calling thread launches may use: at least 1.
int generated_code_threads();

// Makes generated code that is loaded after this call run its parallel loops on the kernels' thread pool. Must be called
// after libtvm_runtime is loaded, which registers its own functions.
void share_thread_pool();

}  // namespace loopwright

extern "C" {

// Runs a loop as min(threads, tasks) tasks, where `threads` is that of set_generated_code_threads() and 0 `tasks` means any
// number. Runs it as one task while the pool is serving another caller. Returns 0, or the status of a failed task
// (TVMBackendParallelLaunch).
int loopwright_parallel_launch(loopwright::Task task, void* closure, int tasks);

// Returns 0 when all tasks of the group have called it (TVMBackendParallelBarrier).
int loopwright_parallel_barrier(int task, loopwright::TaskGroup* group);
}
