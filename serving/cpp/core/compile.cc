#include "core/compile.h"

#include <fcntl.h>
#include <loopwright/isa.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <vector>

#include "core/process.h"
#include "core/version_files.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

namespace fs = std::filesystem;

constexpr int kNice = 10;
constexpr int kPollMillis = 100;

struct Ended {
  int status;
  std::string last_line;  // of what the process printed
};

std::string last_line_of(const std::string& text) {
  const size_t end = text.find_last_not_of("\n ");
  if (end == std::string::npos) return "";
  const size_t start = text.find_last_of('\n', end);
  return text.substr(start == std::string::npos ? 0 : start + 1,
                     end - (start == std::string::npos ? 0 : start + 1) + 1);
}

// Runs a program to its end, or until `stop`.
Ended run(const std::vector<std::string>& arguments, const std::atomic<bool>& stop) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw Error(ErrorKind::kInternal, "cannot make a pipe");
  pid_t child;
  try {
    child = spawn(arguments, {{ends[1], STDOUT_FILENO}, {ends[1], STDERR_FILENO}});
    setpriority(PRIO_PROCESS, static_cast<id_t>(child), kNice);
  } catch (...) {
    close(ends[0]);
    close(ends[1]);
    throw;
  }
  close(ends[1]);
  std::string text;
  std::array<char, 4096> chunk{};
  for (;;) {
    if (stop) kill(child, SIGKILL);
    pollfd readable{ends[0], POLLIN, 0};
    const int ready = poll(&readable, 1, kPollMillis);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t count = read(ends[0], chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(chunk.data(), static_cast<size_t>(count));
    if (text.size() > (1 << 20)) text.erase(0, text.size() - (1 << 16));  // only its end matters
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return {status, last_line_of(text)};
}

}  // namespace

Source read_source(const std::string& onnx, const std::vector<std::string>& operators) {
  const fs::path folder = fs::path(onnx).parent_path();
  std::map<std::string, std::string> digests;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) digests[fs::relative(entry.path(), folder)] = sha256_of_file(entry.path());
  std::string text;
  for (const auto& [path, digest] : digests) text += digest + ' ' + path + '\n';
  for (const std::string& library : operators) text += sha256_of_file(library) + '\n';
  return {onnx, operators, text};
}

std::string compile(const Source& source, int threads, int64_t batch, const CompileOptions& options) {
  if (options.python.empty())
    throw Error(
        ErrorKind::kUnavailable,
        "an ONNX model must be compiled, which needs Python; compile it with `python -m compiler build` and give "
        "the folder as model.lw");
  std::string key = source.digests + options.version + ' ' + std::to_string(threads) + ' ' + std::to_string(batch);
  for (const Isa isa : available_isas()) key += std::string(" ") + name(isa);
  const fs::path cache(options.cache), target = cache / (sha256_of(key) + ".lw");
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (fs::exists(target / "manifest.json")) return target;
  fs::create_directories(cache);
  const fs::path part = cache / ("part-" + std::to_string(getpid()) + "-" + target.filename().string());
  std::error_code none;
  fs::remove_all(part, none);
  std::vector<std::string> command{
      options.python, "-m", "compiler", "build", source.onnx, "-o", part, "--threads", std::to_string(threads)};
  if (batch > 0) command.insert(command.end(), {"--batch", std::to_string(batch)});
  if (!source.operators.empty()) command.push_back("--operators");
  command.insert(command.end(), source.operators.begin(), source.operators.end());
  const Ended ended = run(command, options.stop);
  if (options.stop) {
    fs::remove_all(part, none);
    throw Error(ErrorKind::kUnavailable, "the server is stopping");
  }
  if (!WIFEXITED(ended.status) || WEXITSTATUS(ended.status) != 0) {
    fs::remove_all(part, none);
    throw Error(ErrorKind::kFailedPrecondition,
                "the model cannot be compiled: " + (ended.last_line.empty() ? "the compiler ended" : ended.last_line));
  }
  fs::rename(part, target, none);
  if (none && !fs::exists(target / "manifest.json"))
    throw Error(ErrorKind::kInternal, "cannot write " + target.string() + ": " + none.message());
  return target;
}

}  // namespace loopwright::serving
