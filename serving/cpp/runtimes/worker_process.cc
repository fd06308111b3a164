#include "runtimes/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "core/process.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;

constexpr size_t kLongestMessage = 128 << 10, kAlignment = 64;
constexpr size_t kMostBytes = size_t{1} << 33;  // of all tensors of a run
constexpr int kLeastFile = 16;                  // above the numbers that the child has
constexpr int kSocket = 3, kGiven = 4, kReturned = 5;
constexpr std::chrono::minutes kLoad{10};
constexpr std::chrono::seconds kEnd{5};
constexpr std::chrono::milliseconds kLook{100};  // at `stop`

std::runtime_error of_system(const char* what) {
  return std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

// Returns the file under a number that no file of the child has.
OwnedFile moved(int file) {
  const OwnedFile given(file);
  OwnedFile above(fcntl(file, F_DUPFD_CLOEXEC, kLeastFile));
  if (above.get() < 0) throw of_system("cannot open a file");
  return above;
}

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::string text_of(const element& object, const char* key) {
  std::string_view value;
  if (object[key].get(value)) throw std::runtime_error("the worker sent a message without " + std::string(key));
  return std::string(value);
}

std::vector<int64_t> shape_of(const element& object) {
  std::vector<int64_t> shape;
  array sizes;
  if (object["shape"].get(sizes)) throw std::runtime_error("the worker sent a tensor without a shape");
  for (const element& size : sizes) {
    int64_t value;
    if (size.get(value)) throw std::runtime_error("the worker sent a shape that is not valid");
    shape.push_back(value);
  }
  return shape;
}

std::vector<TensorSpec> specs_of(const element& message, const char* key) {
  array entries;
  if (message[key].get(entries)) throw std::runtime_error("the worker sent no " + std::string(key));
  std::vector<TensorSpec> specs;
  for (const element& entry : entries)
    specs.push_back({text_of(entry, "name"), parse_data_type(text_of(entry, "datatype")), shape_of(entry)});
  return specs;
}

// What the model's own code raised.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws what the message says, if it is an error.
void check_message(const element& message) {
  std::string_view error;
  if (message["error"].get(error)) return;
  bool is_invalid = false;
  if (!message["is_invalid"].get(is_invalid) && is_invalid) throw invalid(std::string(error));
  throw Failure(std::string(error));
}

}  // namespace

SharedBytes::SharedBytes() {
  const int made = memfd_create("loopwright", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made < 0) throw of_system("cannot make shared memory");
  file_ = moved(made);
  // Memory that becomes smaller while it is read would end this process.
  if (fcntl(file_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) != 0) throw of_system("cannot make shared memory");
}

SharedBytes::~SharedBytes() {
  if (data_) munmap(data_, bytes_);
}

void SharedBytes::map(size_t bytes) {
  if (data_) munmap(data_, bytes_);
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  data_ = mapped == MAP_FAILED ? nullptr : static_cast<char*>(mapped);
  bytes_ = data_ ? bytes : 0;
  if (!data_) throw of_system("cannot map shared memory");
}

char* SharedBytes::reserve(size_t bytes) {
  if (bytes <= bytes_) return data_;
  const size_t more = std::max(bytes, 2 * bytes_);
  if (ftruncate(file_.get(), static_cast<off_t>(more)) != 0) throw of_system("cannot enlarge shared memory");
  map(more);
  return data_;
}

const char* SharedBytes::view(size_t offset, size_t bytes) {
  if (offset > kMostBytes || bytes > kMostBytes) throw std::runtime_error("the outputs have more than 8 GiB");
  if (offset + bytes > bytes_) {
    struct stat status{};
    if (fstat(file_.get(), &status) != 0 || static_cast<size_t>(status.st_size) < offset + bytes)
      throw std::runtime_error("the worker sent outputs that its memory does not have");
    map(static_cast<size_t>(status.st_size));
  }
  return data_ + offset;
}

WorkerProcess::WorkerProcess(const WorkerOptions& options) : limit_(options.limit) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) throw of_system("cannot make a socket");
  socket_ = OwnedFile(ends[0]);
  const OwnedFile theirs = moved(ends[1]);
  std::vector<std::string> command{options.python, "-m",         "serving.worker",
                                   options.kind,   options.path, std::to_string(options.threads),
                                   options.label};
  for (const auto& [name, value] : options.parameters) command.push_back(name + "=" + value);
  child_ = spawn(command, {{theirs.get(), kSocket}, {given_.file(), kGiven}, {returned_.file(), kReturned}});
  process_ = OwnedFile(static_cast<int>(syscall(SYS_pidfd_open, child_, 0)));
  try {
    if (process_.get() < 0) throw of_system("cannot watch a process");
    read_specs(receive(kLoad, options.stop));
  } catch (const InstanceLost&) {
    end();
    const std::string how = wait();
    reap();
    throw std::runtime_error("the worker ended with " + how + " while it loaded the model");
  } catch (...) {
    kill();
    reap();
    throw;
  }
}

void WorkerProcess::read_specs(const std::string& message) {
  simdjson::dom::parser parser;
  element root;
  if (parser.parse(message).get(root)) throw std::runtime_error("the worker sent a message that is not valid");
  check_message(root);
  inputs_ = specs_of(root, "inputs");
  outputs_ = specs_of(root, "outputs");
}

void WorkerProcess::reap() const {
  int status = 0;
  waitpid(child_, &status, 0);
}

WorkerProcess::~WorkerProcess() {
  end();
  reap();
}

void WorkerProcess::end() const {
  shutdown(socket_.get(), SHUT_RDWR);
  pollfd ended{process_.get(), POLLIN, 0};
  constexpr auto kMillis = std::chrono::milliseconds(kEnd).count();
  if (poll(&ended, 1, static_cast<int>(kMillis)) == 0) kill();
}

// The process is a zombie until it is reaped, so its number is its own.
void WorkerProcess::kill() const { ::kill(child_, SIGKILL); }

std::string WorkerProcess::wait() const {
  siginfo_t info{};
  // The process stays a zombie until the destructor, so that its number is not another's.
  while (waitid(P_PID, static_cast<id_t>(child_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  const bool is_exit = info.si_code == CLD_EXITED;
  return end_of_process(is_exit ? (info.si_status & 0xff) << 8 : info.si_status);
}

void WorkerProcess::send(const std::string& message) const {
  if (message.size() > kLongestMessage) throw std::runtime_error("the model has too many tensors");
  if (::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) throw InstanceLost("the worker ended");
}

std::string WorkerProcess::receive(std::chrono::milliseconds limit, const std::atomic<bool>* stop) {
  // The process too: one that it started may keep the socket open.
  std::array<pollfd, 2> files{pollfd{socket_.get(), POLLIN, 0}, pollfd{process_.get(), POLLIN, 0}};
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    const auto slice = stop ? std::min(left, kLook) : left;
    const int ready = poll(files.data(), files.size(), static_cast<int>(std::max<int64_t>(slice.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (stop && *stop) throw std::runtime_error("the server stops");
    if (ready == 0 && left > slice) continue;
    if (ready == 0)
      throw std::runtime_error("it took longer than " + std::to_string(limit.count()) + " ms, so its worker was ended");
    buffer_.resize(kLongestMessage);
    const ssize_t count = recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw InstanceLost("the worker ended");
    if (static_cast<size_t>(count) > buffer_.size()) throw std::runtime_error("the worker sent a message too long");
    return {buffer_.data(), static_cast<size_t>(count)};
  }
}

std::vector<Tensor> WorkerProcess::run(const std::vector<Tensor>& inputs) {
  if (is_lost_) throw InstanceLost("the worker ended");
  std::string message;
  size_t bytes = 0;
  for (const Tensor& input : inputs) {
    message += message.empty() ? "" : ",";
    message += std::string("{\"datatype\":\"") + name(input.type()) + "\",\"shape\":" + text(input.shape()) +
               ",\"offset\":" + std::to_string(bytes) + ",\"bytes\":" + std::to_string(input.bytes()) + "}";
    bytes += aligned(input.bytes());
  }
  if (bytes > kMostBytes) throw invalid("the inputs have more than 8 GiB");
  char* memory = given_.reserve(std::max<size_t>(bytes, 1));
  for (const Tensor& input : inputs) {
    std::memcpy(memory, input.data(), input.bytes());
    memory += aligned(input.bytes());
  }
  send("{\"serial\":" + std::to_string(++serial_) + ",\"inputs\":[" + message + "]}");
  try {
    return read_outputs(receive(limit_, nullptr));
  } catch (const Error&) {  // the model rejected the inputs
    throw;
  } catch (const Failure&) {  // the model failed
    throw;
  } catch (...) {  // its next answer could be that of this run
    is_lost_ = true;
    kill();
    throw;
  }
}

std::vector<Tensor> WorkerProcess::read_outputs(const std::string& answer) {
  simdjson::dom::parser parser;
  element root;
  uint64_t serial;
  if (parser.parse(answer).get(root) || root["serial"].get(serial) || serial != serial_)
    throw std::runtime_error("the worker sent a message that is not the answer");
  check_message(root);
  array entries;
  if (root["outputs"].get(entries) || entries.size() != outputs_.size())
    throw std::runtime_error("the worker sent no outputs");
  std::vector<Tensor> outputs;
  for (const element& entry : entries) {
    const TensorSpec& spec = outputs_[outputs.size()];
    std::vector<int64_t> shape = shape_of(entry);
    uint64_t offset, size;
    if (entry["offset"].get(offset) || entry["bytes"].get(size) || shape.size() != spec.shape.size())
      throw std::runtime_error("the worker sent an output that is not valid");
    // A copy: the next run writes to this memory.
    std::string data(returned_.view(offset, size), size);
    try {
      check_bytes(spec.type, shape, data);
    } catch (const Error& error) {  // not an error of the request
      throw std::runtime_error("output '" + spec.name + "': " + error.what());
    }
    outputs.push_back(Tensor::of(spec.type, std::move(shape), std::move(data)));
  }
  return outputs;
}

}  // namespace loopwright::serving
