#include "runtimes/runtimes.h"

#include "loopwright/serving/error.h"

namespace loopwright::serving {

const std::vector<Runtime>& runtimes() {
  static const std::vector<Runtime> rows{
      {"loopwright", "loopwright_lw", {"model.lw"}, load_loopwright, false, true},
      {"onnxruntime", "onnxruntime_onnx", {"model.onnx"}, load_onnxruntime, false, true},
      {"openvino", "openvino", {"model.xml", "model.onnx"}, load_openvino},
      {"sklearn", "sklearn_skops", {"model.skops"}, load_sklearn},
      {"xgboost", "xgboost", {"model.ubj", "model.json"}, load_xgboost},
      {"lightgbm", "lightgbm", {"model.txt"}, load_lightgbm},
      {"library", "library", {"model.so"}, load_library, true},
      {"python", "python", {"model.py"}, load_python, true},
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

std::string library_of(const LoadOptions& options, const std::string& runtime, const char* usual) {
  const auto found = options.libraries.find(runtime);
  return found == options.libraries.end() ? usual : found->second;
}

void check_parameters(const LoadOptions& options, const std::string& runtime, const char* known) {
  for (const auto& [name, value] : options.parameters)
    if (!known || name != known)
      throw invalid("parameters." + name + ": " + runtime + " takes " +
                    (known ? "only " + std::string(known) : "none"));
}

void check_batches(const std::vector<TensorSpec>& inputs) {
  for (const TensorSpec& spec : inputs)
    if (spec.type == DataType::kBytes || spec.shape.empty() || spec.shape[0] >= 0)
      throw Error(ErrorKind::kFailedPrecondition, "the model cannot have batches: the first dimension of input '" +
                                                      spec.name + "' is fixed, or it has strings");
}

}  // namespace loopwright::serving
