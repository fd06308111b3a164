// Compiles ONNX models with `python -m compiler build`, in a process of low priority.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace loopwright::serving {

struct CompileOptions {
  std::string python;             // the interpreter; empty: none, and ONNX models are rejected
  std::string cache;              // the folder of compiled models, by digest
  std::string version;            // of the compiler
  const std::atomic<bool>& stop;  // ends the compiler
};

// What a model is compiled from.
struct Source {
  std::string onnx;                    // its file
  std::vector<std::string> operators;  // the files of libraries of operators of users
  std::string digests;  // of all files of the version's folder, which may have weights, and of the libraries
};

// Reads all files for their digests. Throws Error if one cannot be read.
Source read_source(const std::string& onnx, const std::vector<std::string>& operators);

// Returns the folder of the compiled model, from the cache if it is there. `batch` is the first dimension of all its inputs; 0: as
// the model has it. One compiler runs at a time. Throws Error with the last line that the compiler printed. The key of the cache
// has the digests, the batch, the threads, the version of the compiler and the CPU's instruction sets.
std::string compile(const Source& source, int threads, int64_t batch, const CompileOptions& options);

}  // namespace loopwright::serving
