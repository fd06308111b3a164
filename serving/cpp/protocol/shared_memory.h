// Triton's system shared memory extension: tensors in segments of POSIX shared memory, which clients create and register.
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_shared_memory.md
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loopwright/serving/tensor.h"

namespace loopwright::serving {

// Key of a request's or a response's parameters, in JSON and in gRPC.
constexpr const char* kSharedRegion = "shared_memory_region";
constexpr const char* kSharedOffset = "shared_memory_offset";
constexpr const char* kSharedBytes = "shared_memory_byte_size";

struct SharedRegion {
  std::string name;
  std::string key;             // of the segment: "/NAME"
  uint64_t offset, byte_size;  // of the region in the segment
};

// A part of a registered region. Keeps the segment open, also after the region is unregistered.
class SharedRange {
 public:
  const std::string& region() const { return region_; }
  uint64_t offset() const { return offset_; }
  // Returns a copy of the bytes as a tensor. Throws Error if they are not those of this type and shape, or if the segment has been
  // truncated.
  Tensor read(DataType type, std::vector<int64_t> shape) const;
  // Copies the bytes of an output to the start of the range. Throws Error that names it if they are longer than the range, or if the
  // segment has been truncated.
  void write(const std::string& output, std::string_view bytes) const;

 private:
  friend class SharedMemory;
  class Segment;
  struct Budget;

  std::string region_;
  uint64_t offset_ = 0;  // in the region
  uint64_t start_ = 0;   // in the segment
  uint64_t bytes_ = 0;
  std::shared_ptr<const Segment> segment_;
  std::shared_ptr<Budget> budget_;
};

// The registered regions. Thread-safe.
class SharedMemory {
 public:
  // Copies of inputs have at most `most_bytes` in all. If not `is_allowed`, all calls throw Error (kUnimplemented).
  SharedMemory(bool is_allowed, uint64_t most_bytes);
  ~SharedMemory();

  bool is_allowed() const { return is_allowed_; }
  // Opens the segment. Throws Error if the name is registered, if there is no such segment, or if it is smaller than the region.
  void add(SharedRegion region);
  // Removes a region, or all if the name is empty. One that is not registered is not an error, as in Triton.
  void remove(const std::string& name);
  // Returns a region, or all in the order of their names if the name is empty. Throws Error (kNotFound).
  std::vector<SharedRegion> regions(const std::string& name) const;
  // Throws Error if the range is not in a registered region.
  SharedRange range(const std::string& name, uint64_t offset, uint64_t bytes) const;
  // Returns the range that the parameters of a tensor name, or nothing if they name none. Throws Error if some are missing, or as
  // above.
  std::optional<SharedRange> range(const std::optional<std::string>& name, std::optional<uint64_t> offset,
                                   std::optional<uint64_t> bytes) const;

 private:
  struct Entry {
    SharedRegion region;
    std::shared_ptr<const SharedRange::Segment> segment;
  };
  void check_allowed() const;

  const bool is_allowed_;
  const std::shared_ptr<SharedRange::Budget> budget_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

}  // namespace loopwright::serving
