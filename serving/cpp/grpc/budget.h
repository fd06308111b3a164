// The memory of messages.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include "loopwright/serving/error.h"

namespace loopwright::serving::rpc {

// The bytes that messages may take at a time. Thread-safe. Outlives its shares.
class Budget {
 public:
  explicit Budget(size_t most) : most_(most) {}

  // Bytes that are taken until it ends.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Share() {
      if (budget_) budget_->used_.fetch_sub(bytes_, std::memory_order_relaxed);
    }
    size_t bytes() const { return bytes_; }

   private:
    friend Budget;
    Share(Budget* budget, size_t bytes) : budget_(budget), bytes_(bytes) {}
    Budget* budget_ = nullptr;
    size_t bytes_ = 0;
  };

  // Throws Error (kUnavailable) if fewer are left.
  Share take(size_t bytes) {
    if (used_.fetch_add(bytes, std::memory_order_relaxed) + bytes > most_) {
      used_.fetch_sub(bytes, std::memory_order_relaxed);
      throw Error(ErrorKind::kUnavailable, "other messages take the memory for messages; try later", Rejection::kLimit);
    }
    return Share(this, bytes);
  }

 private:
  const size_t most_;
  std::atomic<size_t> used_{0};
};

}  // namespace loopwright::serving::rpc
