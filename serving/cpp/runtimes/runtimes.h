// The loading functions of the runtimes, one file each.
#pragma once

#include "loopwright/serving/runtime.h"

namespace loopwright::serving {

std::unique_ptr<RuntimeModel> load_loopwright(const std::vector<std::string>& paths, const LoadOptions& options);
std::unique_ptr<RuntimeModel> load_onnxruntime(const std::vector<std::string>& paths, const LoadOptions& options);

}  // namespace loopwright::serving
