// The texts of kernels/machines/*.csv, which CMake makes a C++ file of.
#pragma once

#include <vector>

namespace loopwright {

extern const std::vector<const char*> kBuiltInModels;

}  // namespace loopwright
