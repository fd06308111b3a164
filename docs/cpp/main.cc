// Loads a saved model, runs it, and prints its inputs, outputs and latency.
#include <loopwright/model.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

namespace {

using loopwright::Model;
using loopwright::TensorSpec;
using tvm::ffi::Tensor;

void print(const char* what, const TensorSpec& spec) {
  std::printf("%s %s: %s[", what, spec.name.c_str(), tvm::ffi::DLDataTypeToString(spec.dtype).c_str());
  for (size_t i = 0; i < spec.shape.size(); ++i)
    std::printf("%s%lld", i == 0 ? "" : ", ", static_cast<long long>(spec.shape[i]));
  std::printf("]\n");
}

bool is_float32(DLDataType dtype) { return dtype.code == kDLFloat && dtype.bits == 32 && dtype.lanes == 1; }

// Fills a float32 input with 0, 1/256 ... 255/256, 0, 1/256 ...; other inputs are zero.
Tensor ramp(const TensorSpec& spec) {
  Tensor tensor = Model::tensor(spec);
  if (is_float32(spec.dtype)) {
    auto* values = static_cast<float*>(tensor.data_ptr());
    for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(i % 256) / 256;
  }
  return tensor;
}

void print_numbers(const Tensor& tensor) {
  if (!is_float32(tensor.dtype())) return;
  const auto* values =
      reinterpret_cast<const float*>(static_cast<const char*>(tensor.data_ptr()) + tensor.byte_offset());
  for (int64_t i = 0; i < std::min<int64_t>(tensor.numel(), 8); ++i)
    std::printf("  %.9g\n", static_cast<double>(values[i]));
}

void run(const std::string& folder, int runs) {
  using Clock = std::chrono::steady_clock;
  const Model model = Model::load(folder);
  std::vector<Tensor> inputs;
  for (const TensorSpec& spec : model.inputs()) {
    print("input", spec);
    inputs.push_back(ramp(spec));
  }
  const std::vector<Tensor> outputs = model.run(inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    print("output", model.outputs()[i]);
    print_numbers(outputs[i]);
  }
  std::vector<double> millis;
  for (int i = 0; i < runs; ++i) {
    const Clock::time_point start = Clock::now();
    model.run(inputs);
    millis.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::nth_element(millis.begin(), millis.begin() + runs / 2, millis.end());
  std::printf("median of %d runs: %.3f ms\n", runs, millis[static_cast<size_t>(runs) / 2]);
}

}  // namespace

int main(int argc, char** argv) {
  const int runs = argc > 2 ? std::atoi(argv[2]) : 30;
  if (argc < 2 || argc > 3 || runs < 1) {
    std::fprintf(stderr, "usage: %s FOLDER [RUNS]\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], runs);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
