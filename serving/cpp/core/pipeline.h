// A pipeline: models that run one after the other, or at the same time where they do not depend on each other. Tensors pass between
// them without a copy.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/servable.h"
#include "core/statistics.h"

namespace loopwright::serving {

class Pipeline : public Servable {
 public:
  static constexpr int64_t kNumber = 1;  // pipelines have one version

  // Waits for the models of the steps. Throws Error that names the step that does not fit. `models` outlives the runs.
  Pipeline(const std::string& name, const ModelConfig& config, const StepModels& models, Metrics& metrics);

  // Waits for the runs.
  ~Pipeline() override;

  int64_t number() const override { return kNumber; }
  const std::string& note() const override { return note_; }
  const char* platform() const override { return "pipeline"; }
  const std::vector<TensorSpec>& inputs() const override;
  const std::vector<TensorSpec>& outputs() const override;
  bool is_pipeline() const override { return true; }
  int instances() const override { return 1; }
  int threads() const override { return 1; }
  int max_queue() const override { return 0; }  // the queues are those of its steps
  size_t queued() const override { return 0; }
  ModelStatistics statistics() const override;
  Health health() const override;
  void submit(const Request& request, Done done) override;

 private:
  struct Plan;
  class Run;

  const std::string note_;
  const std::unique_ptr<Plan> plan_;  // outlives the runs
};

}  // namespace loopwright::serving
