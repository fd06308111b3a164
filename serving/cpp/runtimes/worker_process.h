// A process that runs a model for an instance: `python -m serving.worker`. Tensors go through shared memory, messages through a
// socket.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/owned_file.h"
#include "loopwright/serving/runtime.h"

namespace loopwright::serving {

// Memory of two processes, each of which can only make it larger, so that none can take it from the other.
class SharedBytes {
 public:
  SharedBytes();
  ~SharedBytes();
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;

  int file() const { return file_.get(); }
  // Returns the memory after it was made at least that large.
  char* reserve(size_t bytes);
  // Returns the memory that begins at `offset`. Throws std::runtime_error if it has fewer bytes.
  const char* view(size_t offset, size_t bytes);

 private:
  void map(size_t bytes);

  OwnedFile file_;
  char* data_ = nullptr;
  size_t bytes_ = 0;  // that are mapped
};

struct WorkerOptions {
  std::string python;
  std::string kind;  // what runs there, a name of serving/worker/__main__.py
  std::string path;  // of the model
  int threads = 1;
  std::string label;  // of its lines in the log
  std::map<std::string, std::string> parameters;
  std::chrono::milliseconds limit{60'000};  // of a run
  const std::atomic<bool>* stop = nullptr;  // ends the load; null: nothing does
};

class WorkerProcess {
 public:
  // Starts the process and waits until it has loaded the model. Throws std::runtime_error with its reason.
  explicit WorkerProcess(const WorkerOptions& options);
  // Ends it, by force if it does not within five seconds.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  const std::vector<TensorSpec>& inputs() const { return inputs_; }
  const std::vector<TensorSpec>& outputs() const { return outputs_; }
  // Throws Error (kInvalidArgument) if the model rejects the inputs, InstanceLost if the process ended, and std::runtime_error for a
  // failure of the model or a run that is too long, whose process is then killed.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs);
  // Begins to end the process, so that wait() returns.
  void end() const;
  // Ends it at once.
  void kill() const;
  // Waits until the process has ended, and returns how it did.
  std::string wait() const;

 private:
  void send(const std::string& message) const;
  // Returns the next message. Throws InstanceLost if the process or its socket ended, and std::runtime_error after `limit` or when
  // `stop` is set.
  std::string receive(std::chrono::milliseconds limit, const std::atomic<bool>* stop);
  std::vector<Tensor> read_outputs(const std::string& answer);
  void read_specs(const std::string& message);
  // Waits for the end, after which the number of the process may be another's.
  void reap() const;

  const std::chrono::milliseconds limit_;
  SharedBytes given_, returned_;
  OwnedFile socket_;
  pid_t child_ = 0;
  OwnedFile process_;                 // readable when the process has ended
  std::vector<char> buffer_;          // of messages, kept between runs
  uint64_t serial_ = 0;               // of the last run, so that an answer cannot be that of another one
  std::atomic<bool> is_lost_{false};  // it sent what is not valid, or nothing in time, and is killed
  std::vector<TensorSpec> inputs_, outputs_;
};

}  // namespace loopwright::serving
