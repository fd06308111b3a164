#include "core/compile.h"

#include <fcntl.h>
#include <loopwright/isa.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "core/version_files.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

namespace fs = std::filesystem;

constexpr int kNice = 10;

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

// Runs a program with both outputs in a pipe.
Ended run(const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw Error(ErrorKind::kInternal, "cannot make a pipe");
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (failed) {
    close(ends[0]);
    throw Error(ErrorKind::kUnavailable, "cannot start " + arguments.front() + ": " + std::strerror(failed));
  }
  setpriority(PRIO_PROCESS, static_cast<id_t>(child), kNice);
  std::string text;
  std::array<char, 4096> chunk{};
  for (;;) {
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

std::string compile(const std::string& onnx, int threads, int64_t batch, const CompileOptions& options) {
  if (options.python.empty())
    throw Error(
        ErrorKind::kUnavailable,
        "an ONNX model must be compiled, which needs Python; compile it with `python -m compiler build` and give "
        "the folder as model.lw");
  std::string key = sha256_of_file(onnx) + ' ' + std::to_string(threads) + ' ' + std::to_string(batch);
  for (const Isa isa : available_isas()) key += std::string(" ") + name(isa);
  const fs::path cache(options.cache), target = cache / (sha256_of(key) + ".lw");
  if (fs::exists(target / "manifest.json")) return target;
  fs::create_directories(cache);
  const fs::path part = cache / ("part-" + std::to_string(getpid()) + "-" + target.filename().string());
  std::error_code none;
  fs::remove_all(part, none);
  std::vector<std::string> command{options.python,         "-m", "compiler", "build", onnx, "-o", part, "--threads",
                                   std::to_string(threads)};
  if (batch > 0) command.insert(command.end(), {"--batch", std::to_string(batch)});
  const Ended ended = run(command);
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
