// The server program.
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "grpc/server.h"
#include "http/routes.h"
#include "http/server.h"
#include "loopwright/serving/engine.h"

namespace {

using namespace loopwright::serving;

constexpr const char* kUsage =
    "usage: loopwright-server REPOSITORY [--host ADDRESS] [--http-port N] [--grpc-port N] [--metrics-port N]\n"
    "           [--admin-port N --admin-token-file FILE] [--drain-ms N] [--grace-ms N] [--poll-ms N] [--max-body-mib "
    "N] [--python FILE] [--cache FOLDER]\n"
    "           [--onnxruntime FILE] [--version-text TEXT]\n";

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  std::string repository;
  std::map<std::string, std::string> values{
      {"host", "127.0.0.1"},       {"http-port", "8000"},    {"grpc-port", "8001"}, {"metrics-port", "8002"},
      {"admin-port", ""},          {"admin-token-file", ""}, {"drain-ms", "1000"},  {"grace-ms", "30000"},
      {"poll-ms", "1000"},         {"max-body-mib", "64"},   {"python", ""},        {"cache", ""},
      {"version-text", "unknown"}, {"onnxruntime", ""}};

  const std::string& text(const char* name) const { return values.at(name); }
  int number(const char* name, int least, int most) const {
    const std::string& value = text(name);
    int result = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    if (error != std::errc() || end != value.data() + value.size() || result < least || result > most)
      throw UsageError(std::string("--") + name + " must be a number from " + std::to_string(least) + " to " +
                       std::to_string(most) + ", got '" + value + "'");
    return result;
  }
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    if (argument.substr(0, 2) != "--") {
      if (!options.repository.empty())
        throw UsageError("there is one REPOSITORY, got '" + std::string(argument) + "' too");
      options.repository = argument;
      continue;
    }
    const auto found = options.values.find(std::string(argument.substr(2)));
    if (found == options.values.end()) throw UsageError("there is no option " + std::string(argument));
    if (i + 1 == argc) throw UsageError(std::string(argument) + " needs a value");
    found->second = argv[++i];
  }
  if (options.repository.empty()) throw UsageError("REPOSITORY is missing");
  return options;
}

// Returns the first line of the file.
std::string read_token(const std::string& path) {
  std::ifstream file(path);
  std::string token;
  if (!std::getline(file, token) || token.size() < 16)
    throw UsageError("--admin-token-file must name a file whose first line has at least 16 characters");
  return token;
}

// Waits for SIGTERM or SIGINT. As PID 1 of a container a process has no default action for them.
int wait_for_signal(const sigset_t& signals) {
  int signal = 0;
  while (sigwait(&signals, &signal) != 0) {
  }
  return signal;
}

int serve(const Options& options) {
  const int http_port = options.number("http-port", 0, 65535), grpc_port = options.number("grpc-port", 0, 65535),
            metrics_port = options.number("metrics-port", 0, 65535);
  const std::chrono::milliseconds drain(options.number("drain-ms", 0, 3'600'000)),
      grace(options.number("grace-ms", 0, 3'600'000));
  http::Limits limits;
  limits.body = static_cast<uint64_t>(options.number("max-body-mib", 1, 4096)) << 20;

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // of all threads; wait_for_signal takes them
  signal(SIGPIPE, SIG_IGN);

  std::string token;
  if (!options.text("admin-port").empty()) token = read_token(options.text("admin-token-file"));
  if (options.text("admin-port").empty() && !options.text("admin-token-file").empty())
    throw UsageError("--admin-token-file needs --admin-port");

  EngineOptions engine_options;
  engine_options.repository = options.repository;
  engine_options.poll = std::chrono::milliseconds(options.number("poll-ms", 0, 3'600'000));
  engine_options.python = options.text("python");
  engine_options.cache = options.text("cache");
  if (!options.text("onnxruntime").empty()) engine_options.libraries["onnxruntime"] = options.text("onnxruntime");
  Engine engine(engine_options);
  http::Server server(options.text("host"), static_cast<uint16_t>(http_port), limits,
                      http::inference_routes(engine, options.text("version-text")));
  rpc::Server grpc(engine, options.text("host"), static_cast<uint16_t>(grpc_port), limits.body,
                   options.text("version-text"));
  http::Server metrics(options.text("host"), static_cast<uint16_t>(metrics_port), limits, http::metrics_routes(engine));
  std::unique_ptr<http::Server> admin;
  if (!options.text("admin-port").empty())
    admin = std::make_unique<http::Server>(options.text("host"),
                                           static_cast<uint16_t>(options.number("admin-port", 0, 65535)), limits,
                                           http::admin_routes(engine, options.repository, token));
  engine.wait_until_loaded();
  int ready = 0, failed = 0;
  for (const IndexEntry& entry : engine.index()) {
    if (entry.state == VersionState::kReady) ++ready;
    if (entry.reason.empty()) continue;
    ++failed;
    std::fprintf(stderr, "%s, version %lld: %s\n", entry.model.c_str(), static_cast<long long>(entry.version),
                 entry.reason.c_str());
  }
  const char* host = options.text("host").c_str();
  std::printf("ready: http %s:%d, grpc %s:%d, metrics %s:%d", host, server.port(), host, grpc.port(), host,
              metrics.port());
  if (admin) std::printf(", admin %s:%d", host, admin->port());
  std::printf("; %d of %d versions served\n", ready, ready + failed);
  std::fflush(stdout);

  const int signal = wait_for_signal(signals);
  engine.stop();
  server.begin_drain();
  // Load balancers notice that the server is not ready, while it still serves. Nobody waits after Ctrl-C.
  if (signal == SIGTERM) std::this_thread::sleep_for(drain);
  const auto end = std::chrono::steady_clock::now() + grace;
  const bool done = server.drain(grace);
  grpc.drain(std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()));
  if (!done) std::fprintf(stderr, "requests were not finished within --grace-ms\n");
  return done ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 2 && std::string_view(argv[1]) == "--help") {
      std::fputs(kUsage, stdout);
      return 0;
    }
    return serve(parse(argc, argv));
  } catch (const UsageError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.kind() == ErrorKind::kInternal ? 1 : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
