#include "protocol/shared_memory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/names.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

constexpr size_t kMostRegions = 256;  // each has an open file
constexpr size_t kLongestName = 255;
constexpr const char* kFolder = "/dev/shm";

Error failed(const std::string& message) { return Error(ErrorKind::kFailedPrecondition, message); }

std::string quoted(const std::string& name) { return "'" + printable(name.substr(0, kLongestName)) + "'"; }

void check_region_name(const std::string& name) {
  if (name.empty() || name.size() > kLongestName || printable(name) != name)
    throw invalid("the name of a shared memory region must have 1 to 255 characters, without control characters");
}

// POSIX semaphores are files of the same folder, "sem.NAME".
void check_key(const std::string& key) {
  const std::string name = key.empty() ? "" : key.substr(1);
  const bool is_name = !name.empty() && name.size() <= kLongestName && printable(name) == name &&
                       name.find('/') == std::string::npos && name != "." && name != ".." && name.rfind("sem.", 0) != 0;
  if (key.empty() || key[0] != '/' || !is_name)
    throw invalid("the key of a shared memory region must be '/NAME', the name of a segment without another '/', got " +
                  quoted(key));
}

}  // namespace

// An open segment. It is copied with pread and pwrite, not mapped: its client may truncate it at any time, and to touch a mapped
// page behind the end of a file is a SIGBUS, which ends the server, while pread just returns fewer bytes. And what has been checked,
// such as the lengths in a BYTES tensor, must not change before it is used.
class SharedRange::Segment {
 public:
  explicit Segment(const SharedRegion& region) : region_(quoted(region.name)) {
    // O_NONBLOCK: to open a FIFO, or a file with a lease, would wait. Anything but a file is rejected below.
    const std::string path = kFolder + region.key;
    file_ = open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file_ < 0)
      throw failed("cannot open the segment " + quoted(region.key) + " of shared memory: " + std::strerror(errno));
    struct stat status{};
    if (fstat(file_, &status) != 0 || !S_ISREG(status.st_mode)) {
      close(file_);
      throw failed(quoted(region.key) + " is not a segment of shared memory");
    }
    const auto size = static_cast<uint64_t>(status.st_size);
    if (region.byte_size == 0 || region.offset > size || region.byte_size > size - region.offset) {
      close(file_);
      throw invalid("the segment " + quoted(region.key) + " has " + std::to_string(size) + " bytes, so a region of " +
                    std::to_string(region.byte_size) + " bytes from " + std::to_string(region.offset) +
                    " on is not possible; a region has at least 1 byte");
    }
  }
  ~Segment() { close(file_); }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  void read(char* data, uint64_t bytes, uint64_t start) const {
    while (bytes > 0) {
      const ssize_t count = pread(file_, data, bytes, static_cast<off_t>(start));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw failed("cannot read the shared memory region " + region_ + ": " + std::strerror(errno));
      if (count == 0) throw truncated();
      data += count;
      start += static_cast<uint64_t>(count);
      bytes -= static_cast<uint64_t>(count);
    }
  }

  void write(std::string_view bytes, uint64_t start) const {
    // pwrite would make a truncated segment longer again, for a client that does not expect it.
    struct stat status{};
    if (fstat(file_, &status) != 0 || static_cast<uint64_t>(status.st_size) < start + bytes.size()) throw truncated();
    while (!bytes.empty()) {
      const ssize_t count = pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(start));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw failed("cannot write the shared memory region " + region_ + ": " + std::strerror(errno));
      bytes.remove_prefix(static_cast<size_t>(count));
      start += static_cast<uint64_t>(count);
    }
  }

 private:
  Error truncated() const {
    return failed("the segment of the shared memory region " + region_ + " was truncated after it was registered");
  }

  const std::string region_;
  int file_ = -1;
};

// Bytes of the copies that are in use.
struct SharedRange::Budget {
  explicit Budget(uint64_t most_bytes) : most(most_bytes) {}
  const uint64_t most;
  std::atomic<uint64_t> used{0};
};

Tensor SharedRange::read(DataType type, std::vector<int64_t> shape) const {
  check_size(type, shape, bytes_);  // before memory is taken
  if (bytes_ > budget_->most)
    throw Error(ErrorKind::kInvalidArgument,
                "an input in shared memory has at most " + std::to_string(budget_->most) + " bytes, got " +
                    std::to_string(bytes_),
                Rejection::kLimit);
  if (budget_->used.fetch_add(bytes_) + bytes_ > budget_->most) {
    budget_->used.fetch_sub(bytes_);
    throw Error(
        ErrorKind::kUnavailable,
        "the inputs in shared memory that are being computed take all of the server's memory for them; try later",
        Rejection::kLimit);
  }
  // The deleter runs also if it, or the array, cannot be made.
  const std::shared_ptr<void> share(nullptr,
                                    [budget = budget_, bytes = bytes_](void*) { budget->used.fetch_sub(bytes); });
  const std::shared_ptr<char> copy(new char[bytes_], [share](const char* data) { delete[] data; });
  segment_->read(copy.get(), bytes_, start_);
  check_bytes(type, shape, {copy.get(), bytes_});
  return Tensor(type, std::move(shape), copy, copy.get(), bytes_);
}

void SharedRange::write(const std::string& output, std::string_view bytes) const try {
  if (bytes.size() > bytes_)
    throw invalid("it has " + std::to_string(bytes.size()) + " bytes, and " + kSharedBytes + " is " +
                  std::to_string(bytes_));
  segment_->write(bytes, start_);
} catch (const Error& error) {
  throw Error(error.kind(), "output '" + output + "': " + error.what());
}

SharedMemory::SharedMemory(bool is_allowed, uint64_t most_bytes)
    : is_allowed_(is_allowed), budget_(std::make_shared<SharedRange::Budget>(most_bytes)) {}

SharedMemory::~SharedMemory() = default;

void SharedMemory::check_allowed() const {
  if (!is_allowed_)
    throw Error(ErrorKind::kUnimplemented,
                "shared memory is not enabled on this address; start the server with --shared-memory");
}

void SharedMemory::add(SharedRegion region) {
  check_allowed();
  check_region_name(region.name);
  check_key(region.key);
  const std::lock_guard lock(mutex_);
  if (entries_.count(region.name))
    throw Error(ErrorKind::kAlreadyExists,
                "the shared memory region " + quoted(region.name) + " is already registered; unregister it first");
  if (entries_.size() >= kMostRegions)
    throw Error(ErrorKind::kResourceExhausted,
                std::to_string(kMostRegions) + " shared memory regions are registered; unregister one first");
  auto segment = std::make_shared<const SharedRange::Segment>(region);
  const std::string name = region.name;
  entries_.emplace(name, Entry{std::move(region), std::move(segment)});
}

void SharedMemory::remove(const std::string& name) {
  check_allowed();
  const std::lock_guard lock(mutex_);
  name.empty() ? entries_.clear() : static_cast<void>(entries_.erase(name));
}

std::vector<SharedRegion> SharedMemory::regions(const std::string& name) const {
  check_allowed();
  const std::lock_guard lock(mutex_);
  std::vector<SharedRegion> result;
  for (const auto& [key, entry] : entries_)
    if (name.empty() || key == name) result.push_back(entry.region);
  if (!name.empty() && result.empty())
    throw Error(ErrorKind::kNotFound, "there is no shared memory region " + quoted(name));
  return result;
}

SharedRange SharedMemory::range(const std::string& name, uint64_t offset, uint64_t bytes) const {
  check_allowed();
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw Error(ErrorKind::kNotFound, "there is no shared memory region " + quoted(name));
  const SharedRegion& region = found->second.region;
  if (offset > region.byte_size || bytes > region.byte_size - offset)
    throw invalid("the shared memory region " + quoted(name) + " has " + std::to_string(region.byte_size) +
                  " bytes, so " + std::to_string(bytes) + " bytes from " + std::to_string(offset) +
                  " on are not possible");
  SharedRange range;
  range.region_ = name;
  range.offset_ = offset;
  range.start_ = region.offset + offset;  // below the size of the file, so it does not overflow
  range.bytes_ = bytes;
  range.segment_ = found->second.segment;
  range.budget_ = budget_;
  return range;
}

std::optional<SharedRange> SharedMemory::range(const std::optional<std::string>& name, std::optional<uint64_t> offset,
                                               std::optional<uint64_t> bytes) const {
  if (!name && (offset || bytes)) throw invalid(std::string("\"") + kSharedRegion + "\" is missing");
  if (!name) return std::nullopt;
  if (!bytes) throw invalid(std::string("\"") + kSharedBytes + "\" is missing");
  return range(*name, offset.value_or(0), *bytes);
}

}  // namespace loopwright::serving
