// Serves a repository inside a program, without a network: runs two versions, switches between them, and unloads.
#include <loopwright/serving/engine.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

using namespace loopwright::serving;

namespace {

// Runs the model on ones and prints the first number of its first output.
void run(Engine& engine, const std::string& model, const std::string& version) {
  const TensorSpec spec = engine.metadata(model, version).inputs.front();
  std::vector<float> ones(static_cast<size_t>(element_count(spec.shape)), 1.0F);
  std::string bytes(reinterpret_cast<const char*>(ones.data()), ones.size() * sizeof(float));
  Request request;
  request.model = model;
  request.version = version;
  request.inputs.push_back({spec.name, Tensor::of(spec.type, spec.shape, std::move(bytes))});
  const Response response = engine.infer(std::move(request));
  float first;
  std::memcpy(&first, response.outputs.front().tensor.data(), sizeof(first));
  std::printf("version %lld: %g\n", static_cast<long long>(response.version), first);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: embed REPOSITORY MODEL, whose versions 1 and 2 are served");
  EngineOptions options;
  options.repository = argv[1];
  Engine engine(options);
  engine.wait_until_loaded();
  for (const char* version : {"1", "2"}) run(engine, argv[2], version);
  for (const int64_t version : {1, 2}) {
    engine.promote(argv[2], "stable", version);
    run(engine, argv[2], "");
  }
  engine.roll_back(argv[2]);
  run(engine, argv[2], "");
  engine.unload(argv[2]);
  std::printf("unloaded: %s\n", engine.is_ready(argv[2]) ? "no" : "yes");
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
