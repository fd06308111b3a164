// The thread pool for machine code that a compiler has generated. TVM's code calls two functions for its parallel
// loops, whose addresses it is given when it is loaded; these here have their ABI (tvm/runtime/c_backend_api.h), so
// that such code and our kernels share one set of threads.
#pragma once

#include <cstdint>

namespace loopwright {

// The tasks of one parallel loop (TVMParallelGroupEnv).
struct TaskGroup {
  void* barrier;
  int32_t tasks;
};

// One share of a loop: 0 <= task < group->tasks. Other than 0 is a failure (FTVMParallelLambda).
using Task = int (*)(int task, TaskGroup* group, void* closure);

// Runs a loop as min(threads, tasks) tasks, where `threads` is what set_generated_code_threads() was told last on the
// calling thread and 0 `tasks` stand for any number; as one task while the pool serves another caller. Returns 0, or
// what a failed task has returned (TVMBackendParallelLaunch).
int launch_tasks(Task task, void* closure, int tasks);

// Returns 0 when all tasks of the group have come here (TVMBackendParallelBarrier).
int wait_for_tasks(int task, TaskGroup* group);

// How many threads loops that are launched from the calling thread may use; 0, as at first, means one a CPU. Returns
// what it was.
int set_generated_code_threads(int threads);

// A failed task leaves the reason on its own thread. These bring it to the caller's: take it from the calling thread,
// put it there, and give up a reference to it (TVMFFIErrorMoveFromRaised, TVMFFIErrorSetRaised, TVMFFIObjectDecRef).
struct FailureReasons {
  void (*take)(void** reason);
  void (*put)(void* reason);
  int (*release)(void* reason);
};

// To be called before any code runs that may fail.
void set_failure_reasons(const FailureReasons& functions);

}  // namespace loopwright
