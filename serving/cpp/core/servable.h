// What serves the requests of one version: a model that is loaded, or a pipeline.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "loopwright/serving/engine.h"
#include "loopwright/serving/request.h"
#include "loopwright/serving/runtime.h"

namespace loopwright::serving {

class Servable {
 public:
  virtual ~Servable() = default;
  // The names of classes by their indices, for outputs that are wanted as classes. Set before it takes requests.
  void set_class_labels(std::vector<std::string> labels) { class_labels_ = std::move(labels); }
  const std::vector<std::string>& class_labels() const { return class_labels_; }
  virtual int64_t number() const = 0;
  // How it runs, if that is not what users expect; else empty.
  virtual const std::string& note() const = 0;
  virtual const char* platform() const = 0;
  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;
  virtual bool is_pipeline() const { return false; }
  virtual int instances() const = 0;
  virtual int threads() const = 0;  // of an instance
  virtual int max_queue() const = 0;
  virtual size_t queued() const = 0;
  virtual ModelStatistics statistics() const = 0;
  virtual Health health() const = 0;
  // Takes a request, whose result `done` gets. Throws Error if the request does not fit, or if the queue is full. Its outputs are
  // tensors, also if classes are wanted.
  virtual void submit(const Request& request, Done done) = 0;

 private:
  std::vector<std::string> class_labels_;
};

// The models of a repository, as the steps of pipelines.
class StepModels {
 public:
  virtual ~StepModels() = default;
  // Returns what serves a version, which ends when nobody has it. Throws Error if it does not exist, or is a pipeline.
  virtual std::shared_ptr<Servable> find_step(const std::string& model, const std::string& version) const = 0;
  // Waits until a model is loaded or has failed once. Throws Error if it does not exist, or is a pipeline.
  virtual void wait_for_step(const std::string& model) const = 0;
};

}  // namespace loopwright::serving
