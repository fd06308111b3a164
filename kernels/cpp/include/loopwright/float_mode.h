// How a thread computes with subnormal numbers, those below the smallest normal one: 1.2e-38 of float32. Most CPUs need a
// hundred cycles or more for an instruction that reads or produces one.
#pragma once

#include <cstdint>

namespace loopwright {

// The mode of a thread: whether it keeps subnormal numbers, or takes them as zero in operands and writes zero instead.
class FloatMode {
 public:
  // Returns the mode of the calling thread.
  static FloatMode current();
  // Returns this mode with subnormal numbers kept, as IEEE 754 says, or flushed to zero.
  FloatMode with_subnormals(bool kept) const;
  bool keeps_subnormals() const;
  // Makes this the mode of the calling thread.
  void enter() const;

 private:
  explicit FloatMode(uint64_t control) : control_(control) {}

  uint64_t control_;  // the CPU's control register without its sticky flags
};

// Sets what the calling thread does with subnormal numbers, and restores its mode at the end, also after an exception.
class SubnormalsScope {
 public:
  explicit SubnormalsScope(bool kept) : before_(FloatMode::current()) { before_.with_subnormals(kept).enter(); }
  ~SubnormalsScope() { before_.enter(); }
  SubnormalsScope(const SubnormalsScope&) = delete;
  SubnormalsScope& operator=(const SubnormalsScope&) = delete;

 private:
  FloatMode before_;
};

}  // namespace loopwright
