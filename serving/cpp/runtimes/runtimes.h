// The loading functions of the runtimes, one file each.
#pragma once

#include "loopwright/serving/runtime.h"

namespace loopwright::serving {

std::unique_ptr<RuntimeModel> load_loopwright(const std::vector<std::string>& paths, const LoadOptions& options);
std::unique_ptr<RuntimeModel> load_onnxruntime(const std::vector<std::string>& paths, const LoadOptions& options);
std::unique_ptr<RuntimeModel> load_openvino(const std::vector<std::string>& paths, const LoadOptions& options);
std::unique_ptr<RuntimeModel> load_library(const std::vector<std::string>& paths, const LoadOptions& options);
std::unique_ptr<RuntimeModel> load_python(const std::vector<std::string>& paths, const LoadOptions& options);
std::unique_ptr<RuntimeModel> load_sklearn(const std::vector<std::string>& paths, const LoadOptions& options);
std::unique_ptr<RuntimeModel> load_xgboost(const std::vector<std::string>& paths, const LoadOptions& options);
std::unique_ptr<RuntimeModel> load_lightgbm(const std::vector<std::string>& paths, const LoadOptions& options);

// Returns the shared library of a runtime: that of the options, else `usual`, which the linker finds.
std::string library_of(const LoadOptions& options, const std::string& runtime, const char* usual);

// Throws Error (kInvalidArgument) if the configuration has a parameter that the runtime does not take. `known`: the one that it does; null:
// none.
void check_parameters(const LoadOptions& options, const std::string& runtime, const char* known);

// Throws Error (kFailedPrecondition) unless the first dimension of all inputs is open, and none has strings.
void check_batches(const std::vector<TensorSpec>& inputs);

}  // namespace loopwright::serving
