// Weights of 2, 4 or 8 bits with a scale and a zero point per block of k: products with few rows, and their values as floats.
//
//   value = (number - zero point) * scale
//
// A word holds the numbers of consecutive k of one column, the first one in its lowest bits. A panel has a vector or two of
// columns: for each word of k, one word per column.
#pragma once

#include <cstdint>

namespace loopwright {

struct BlockWeightArgs {
  const uint32_t* words;  // (words of k, nr)
  const float* scales;    // (blocks, nr)
  const uint8_t* zeros;   // (blocks, nr); null: all are `zero`
  int zero;
  int64_t first, last;  // the range of words of k; blocks are counted from word 0
  int64_t block_words;  // words of k per block
};

// The 16 bits of half a word are converted where they are: number p of a half counts 2^(bits * p) times.
struct BlockProductArgs {
  BlockWeightArgs weights;  // with all words of k
  const float* x;           // for each number of the words, the x of each row, over the power of two of its place
  const float* x_sums;      // for each block, the sum of x of each row
  float* c;                 // C += x * values
  int64_t c_stride;
  int n;  // columns of C: nr - lanes < n <= nr
};

using BlockProduct = void (*)(const BlockProductArgs&);
// Stores (numbers in the range of words, nr) floats.
using BlockValues = void (*)(const BlockWeightArgs&, float* to);

// The functions of weights of one number of bits. By vectors of columns and, for products, by rows of x; null in a table of
// kReference.
struct BlockWeightFunctions {
  static constexpr int kMaxVectors = 2, kMaxRows = 4;
  BlockProduct products[kMaxVectors + 1][kMaxRows + 1] = {};
  BlockValues values[kMaxVectors + 1] = {};
};

struct BlockWeightTable {
  BlockWeightFunctions two, four, eight;

  const BlockWeightFunctions& of(int bits) const { return bits == 2 ? two : bits == 4 ? four : eight; }
};

}  // namespace loopwright
