#pragma once

#include <cstdint>

namespace loopwright {

constexpr int64_t kCacheLine = 16;  // floats

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Returns the least number of floats that fills cache lines and is not below `floats`.
constexpr int64_t whole_lines(int64_t floats) { return ceil_div(floats, kCacheLine) * kCacheLine; }

// Returns the stride of a block in scratch with rows of `floats` floats: an odd number of cache lines, so that rows spread
// over all sets of a cache, whose number is a power of two.
constexpr int64_t spread_stride(int64_t floats) { return (ceil_div(floats, kCacheLine) | 1) * kCacheLine; }

// Returns the start of part i of `parts` parts of 0..total, whose sizes differ by at most one.
constexpr int64_t split_begin(int64_t total, int64_t parts, int64_t i) { return total * i / parts; }

struct Range {
  int64_t begin, end;

  int64_t size() const { return end - begin; }
  // Returns part i of `parts` parts, as split_begin() divides them.
  Range part(int64_t parts, int64_t i) const {
    return {begin + split_begin(size(), parts, i), begin + split_begin(size(), parts, i + 1)};
  }
};

// Splits `total` into the fewest parts of at most `limit`. Their sizes differ by at most one, and the larger ones come first.
// Needs no division per part.
struct EvenSplit {
  int64_t count, low, higher;
  EvenSplit(int64_t total, int64_t limit) : count(ceil_div(total, limit)), low(total / count), higher(total % count) {}
  int64_t size(int64_t part) const { return low + (part < higher); }
  // Returns the number of parts of the same size from this one on.
  int64_t alike(int64_t part) const { return (part < higher ? higher : count) - part; }
};

}  // namespace loopwright
