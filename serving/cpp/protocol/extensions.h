// The extensions of the protocol that a server reports, by Triton's names.
#pragma once

#include <vector>

namespace loopwright::serving {

inline std::vector<const char*> extensions(bool has_shared_memory) {
  std::vector<const char*> result{"binary_tensor_data", "classification", "model_configuration", "model_repository",
                                  "statistics"};
  if (has_shared_memory) result.push_back("system_shared_memory");
  return result;
}

}  // namespace loopwright::serving
