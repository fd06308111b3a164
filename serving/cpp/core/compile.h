// Compiles ONNX models with `python -m compiler build`, in a process of low priority.
#pragma once

#include <cstdint>
#include <string>

namespace loopwright::serving {

struct CompileOptions {
  std::string python;  // the interpreter; empty: none, and ONNX models are rejected
  std::string cache;   // the folder of compiled models, by digest
};

// Returns the folder of the compiled model, from the cache if it is there. `batch` is the first dimension of all its inputs; 0: as
// the model has it. Throws Error with the last line that the compiler printed. The key of the cache is the digest of the file, the
// batch, the threads and the CPU's instruction sets, because a program is for one of these.
std::string compile(const std::string& onnx, int threads, int64_t batch, const CompileOptions& options);

}  // namespace loopwright::serving
