#pragma once

#include <cstdint>

namespace loopwright {

constexpr int64_t kCacheLine = 16;  // floats

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// From row to row of a block in scratch whose rows hold `floats`: a cache line and a bit apart from any power of two,
// so that they spread over the sets of L1.
constexpr int64_t spread_stride(int64_t floats) { return ceil_div(floats, kCacheLine) * kCacheLine + kCacheLine; }

// Part i of `parts` nearly equal parts of 0..total: their sizes differ by one at most.
constexpr int64_t split_begin(int64_t total, int64_t parts, int64_t i) { return total * i / parts; }

// The fewest parts of at most `limit` that total has, nearly equal, the larger ones first: without a division a part.
struct EvenSplit {
  int64_t count, low, higher;
  EvenSplit(int64_t total, int64_t limit) : count(ceil_div(total, limit)), low(total / count), higher(total % count) {}
  int64_t size(int64_t part) const { return low + (part < higher); }
  // Parts of the same size from there on.
  int64_t alike(int64_t part) const { return (part < higher ? higher : count) - part; }
};

}  // namespace loopwright
