// The server program.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "grpc/server.h"
#include "http/routes.h"
#include "http/server.h"
#include "loopwright/serving/engine.h"
#include "trace/tracer.h"

namespace {

using namespace loopwright::serving;

constexpr const char* kUsage =
    "usage: loopwright-server REPOSITORY [--host ADDRESS] [--http-port N] [--grpc-port N] [--metrics-port N]\n"
    "           [--admin-port N --admin-token-file FILE] [--drain-ms N] [--grace-ms N] [--poll-ms N] [--max-body-mib "
    "N] [--python FILE] [--cache FOLDER]\n"
    "           [--tls-certificate FILE --tls-key FILE] [--trace-endpoint URL [--trace-rate R]]\n"
    "           [--onnxruntime FILE] [--openvino FILE] [--shared-memory on|off] [--validate] [--version-text TEXT]\n";

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  std::string repository;
  bool validate = false;
  std::map<std::string, std::string> values{
      {"host", "127.0.0.1"},       {"http-port", "8000"}, {"grpc-port", "8001"},
      {"metrics-port", "8002"},    {"admin-port", ""},    {"admin-token-file", ""},
      {"drain-ms", "1000"},        {"grace-ms", "30000"}, {"poll-ms", "1000"},
      {"max-body-mib", "64"},      {"python", ""},        {"cache", ""},
      {"version-text", "unknown"}, {"onnxruntime", ""},   {"openvino", ""},
      {"tls-certificate", ""},     {"tls-key", ""},       {"shared-memory", ""},
      {"trace-endpoint", ""},      {"trace-rate", ""}};

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
    if (argument == "--validate") {
      options.validate = true;
      continue;
    }
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

// Whether clients may register segments of shared memory: unless an option says so, only those of this machine.
bool allows_shared_memory(const Options& options) {
  const std::string& text = options.text("shared-memory");
  if (!text.empty() && text != "on" && text != "off")
    throw UsageError("--shared-memory must be on or off, got '" + text + "'");
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(options.text("host"), error);
  return text == "on" || (text.empty() && !error && address.is_loopback());
}

// Returns the first line of the file.
std::string read_token(const std::string& path) {
  std::ifstream file(path);
  std::string token;
  if (!std::getline(file, token) || token.size() < 16)
    throw UsageError("--admin-token-file must name a file whose first line has at least 16 characters");
  return token;
}

std::optional<tls::Certificate> read_certificate(const Options& options) {
  const std::string &chain = options.text("tls-certificate"), &key = options.text("tls-key");
  if (chain.empty() != key.empty()) throw UsageError("--tls-certificate and --tls-key go together");
  if (chain.empty()) return std::nullopt;
  return tls::read_certificate(chain, key);
}

// One line per event on standard error, with the time.
void log_line(const std::string& line) {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char time[32];
  std::strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%SZ", &utc);
  std::fprintf(stderr, "time=%s %s\n", time, line.c_str());
}

// Returns the tracer; null without a collector.
std::unique_ptr<trace::Tracer> make_tracer(const Options& options) {
  const std::string &endpoint = options.text("trace-endpoint"), &rate = options.text("trace-rate");
  if (endpoint.empty() && !rate.empty()) throw UsageError("--trace-rate needs --trace-endpoint");
  if (endpoint.empty()) return nullptr;
  double share = 0;
  const auto [end, error] = std::from_chars(rate.data(), rate.data() + rate.size(), share);
  if (!rate.empty() && (error != std::errc() || end != rate.data() + rate.size() || !(share >= 0 && share <= 1)))
    throw UsageError("--trace-rate must be a number from 0 to 1, got '" + rate + "'");
  return std::make_unique<trace::Tracer>(trace::parse_endpoint(endpoint), share, options.text("version-text"),
                                         log_line);
}

// SIGTERM and SIGINT. As PID 1 of a container a process has no default action for them.
class StopSignals {
 public:
  // Blocks them in this thread and those that it starts.
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  // Returns the signal that came, or 0 after `time`.
  int wait(std::chrono::milliseconds time) const {
    const timespec limit{time.count() / 1000, time.count() % 1000 * 1'000'000};
    const int signal = sigtimedwait(&signals_, nullptr, &limit);
    return signal > 0 ? signal : 0;
  }
  // From now on another signal ends the process at once.
  void unblock() const { pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr); }

 private:
  sigset_t signals_{};
};

EngineOptions engine_options(const Options& options) {
  EngineOptions result;
  result.repository = options.repository;
  result.poll = std::chrono::milliseconds(options.number("poll-ms", 0, 3'600'000));
  result.python = options.text("python");
  result.cache = options.text("cache");
  result.compiler_version = options.text("version-text");
  for (const char* runtime : {"onnxruntime", "openvino"})
    if (!options.text(runtime).empty()) result.libraries[runtime] = options.text(runtime);
  return result;
}

std::string no_models(const Options& options) {
  return options.repository + " has no model yet; add NAME/1/model.onnx or NAME/1/model.lw";
}

// Loads all models, prints what would be served, and returns 1 if a version could not.
int validate(const Options& options) {
  EngineOptions how = engine_options(options);
  how.poll = std::chrono::milliseconds(0);
  std::mutex mutex;
  std::set<std::string> ignored;  // lines of the log; no entry of the index has such a folder
  how.log = [&](const std::string& line) {
    const std::lock_guard lock(mutex);
    if (line.find("event=\"a folder is ignored\"") != std::string::npos) ignored.insert(line);
  };
  Engine engine(how);
  engine.wait_until_loaded();
  const std::vector<IndexEntry> index = engine.index();
  {
    const std::lock_guard lock(mutex);
    for (const std::string& line : ignored) std::printf("%s\n", line.c_str());
  }
  if (index.empty()) {
    std::printf("no models found; %s\n", no_models(options).c_str());
    return 1;
  }
  int failed = 0;
  for (const IndexEntry& entry : index) {
    const bool is_ready = entry.state == VersionState::kReady;
    if (!is_ready && !entry.is_failed) continue;  // an old version that the policy leaves out
    failed += entry.is_failed ? 1 : 0;
    std::string place = entry.model;
    if (entry.version > 0) place += ", version " + std::to_string(entry.version);
    std::printf("%s: %s\n", place.c_str(), is_ready && entry.reason.empty() ? "loads and runs" : entry.reason.c_str());
  }
  return failed == 0 ? 0 : 1;
}

void print_ready(const Options& options, const Engine& engine, const std::string& ports) {
  std::map<std::string, bool> served;  // by model
  for (const IndexEntry& entry : engine.index()) served[entry.model] |= entry.state == VersionState::kReady;
  const auto count = std::count_if(served.begin(), served.end(), [](const auto& model) { return model.second; });
  if (served.empty()) std::fprintf(stderr, "%s\n", no_models(options).c_str());
  std::printf("ready: %s; %d of %zu models served\n", ports.c_str(), static_cast<int>(count), served.size());
  std::fflush(stdout);
}

int serve(const Options& options) {
  const std::string& host = options.text("host");
  const auto port = [&options](const char* name) { return static_cast<uint16_t>(options.number(name, 0, 65535)); };
  const std::chrono::milliseconds drain(options.number("drain-ms", 0, 3'600'000)),
      grace(options.number("grace-ms", 0, 3'600'000));
  http::Limits limits;
  limits.body = static_cast<uint64_t>(options.number("max-body-mib", 1, 4096)) << 20;
  limits.in_flight = std::max(limits.in_flight, limits.body);
  http::Limits admin_limits = limits;
  const bool has_admin = !options.text("admin-port").empty();
  if (has_admin) admin_limits.token = read_token(options.text("admin-token-file"));
  if (!has_admin && !options.text("admin-token-file").empty())
    throw UsageError("--admin-token-file needs --admin-port");
  const std::optional<tls::Certificate> certificate = read_certificate(options);

  const StopSignals signals;
  signal(SIGPIPE, SIG_IGN);
  setenv("GRPC_VERBOSITY", "NONE", 0);  // its errors are reported by ours
  EngineOptions how = engine_options(options);
  how.log = log_line;
  const std::unique_ptr<trace::Tracer> tracer = make_tracer(options);
  if (tracer) how.trace = [&tracer = *tracer](const TracedRun& run) { tracer.add(run); };
  Rejections rejections;  // outlives the threads of the engine, which report them
  Engine engine(how);
  SharedMemory memory(allows_shared_memory(options), limits.in_flight);
  http::Server server(
      host, port("http-port"), limits, certificate,
      http::inference_routes(engine, memory, tracer.get(), options.text("version-text")),
      [&rejections](Rejection reason, Clock::duration time) { rejections.note(Rejections::kHttp, reason, time); });
  rpc::Server grpc(engine, memory, rejections, tracer.get(), host, port("grpc-port"), limits.body, certificate,
                   options.text("version-text"));
  http::Server metrics(host, port("metrics-port"), limits, std::nullopt,
                       http::metrics_routes(engine, rejections, tracer.get()));
  http::AdminRoutes routes(engine, options.repository);
  std::unique_ptr<http::Server> admin;
  if (has_admin)
    admin = std::make_unique<http::Server>(host, port("admin-port"), admin_limits, certificate, routes.handler());
  const auto place = [&host](const char* name, int number) {
    return name + (" " + host) + ":" + std::to_string(number);
  };
  const std::string ports = place("http", server.port()) + ", " + place("grpc", grpc.port()) + ", " +
                            place("metrics", metrics.port()) + (admin ? ", " + place("admin", admin->port()) : "");
  engine.start();
  int stop = 0;
  while (!stop && !engine.is_loaded()) stop = signals.wait(std::chrono::milliseconds(5));
  if (!stop) print_ready(options, engine, ports);
  while (!stop) stop = signals.wait(std::chrono::hours(1));

  engine.stop();
  server.begin_drain();
  // Load balancers notice that the server is not ready, while it still serves. Nobody waits after Ctrl-C.
  if (stop == SIGTERM && engine.is_loaded()) std::this_thread::sleep_for(drain);
  signals.unblock();
  bool grpc_done = false;
  std::thread other([&] { grpc_done = grpc.drain(grace); });
  const bool http_done = server.drain(grace);
  other.join();
  admin.reset();
  engine.stop_loading();
  if (http_done && grpc_done) return 0;
  std::fprintf(stderr, "requests were not finished within --grace-ms\n");
  if (tracer) tracer->close();
  std::_Exit(1);  // what is still computed is not waited for
}

// Prints an error as the commands in Python do, one of which has set the program's name. Returns the exit code.
int report(const char* program, const std::exception& error, int code) {
  std::fprintf(stderr, "%s: %s%s\n", program, code == 2 ? "error: " : "", error.what());
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 2 && std::string_view(argv[1]) == "--help") {
      std::fputs(kUsage, stdout);
      return 0;
    }
    const Options options = parse(argc, argv);
    return options.validate ? validate(options) : serve(options);
  } catch (const UsageError& error) {
    return report(argv[0], error, 2);
  } catch (const Error& error) {
    return report(argv[0], error, error.kind() == ErrorKind::kInternal ? 1 : 2);
  } catch (const std::exception& error) {
    return report(argv[0], error, 1);
  }
}
