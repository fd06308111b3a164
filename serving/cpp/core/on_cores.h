// Keeps the calling thread on a set of cores for a while.
#pragma once

#include <loopwright/affinity.h>

#include "loopwright/serving/runtime.h"

namespace loopwright::serving {

class OnCores {
 public:
  explicit OnCores(const CoreSet& cores) { CpuMask(cores).enter(); }
  ~OnCores() { before_.enter(); }
  OnCores(const OnCores&) = delete;
  OnCores& operator=(const OnCores&) = delete;

 private:
  const CpuMask before_ = CpuMask::current();
};

}  // namespace loopwright::serving
