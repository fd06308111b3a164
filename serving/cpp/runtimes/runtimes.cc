#include "runtimes/runtimes.h"

#include "loopwright/serving/error.h"

namespace loopwright::serving {

const std::vector<Runtime>& runtimes() {
  static const std::vector<Runtime> rows{
      {"loopwright", "loopwright_lw", "model.lw", load_loopwright},
      {"onnxruntime", "onnxruntime_onnx", "model.onnx", load_onnxruntime},
  };
  return rows;
}

const Runtime& find_runtime(const std::string& name) {
  std::string names;
  for (const Runtime& runtime : runtimes()) {
    if (runtime.name == name) return runtime;
    names += names.empty() ? runtime.name : std::string(", ") + runtime.name;
  }
  throw Error(ErrorKind::kInvalidArgument, "there is no runtime '" + name + "'; choose from: " + names);
}

}  // namespace loopwright::serving
