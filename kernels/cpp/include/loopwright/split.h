#pragma once

#include <cstdint>

namespace loopwright {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Part i of `parts` nearly equal parts of 0..total: their sizes differ by one at most.
constexpr int64_t split_begin(int64_t total, int64_t parts, int64_t i) { return total * i / parts; }

}  // namespace loopwright
