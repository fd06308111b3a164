#include "loopwright/block_dense.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/split.h"
#include "gemm/layer_constants.h"
#include "gemm/reference_output.h"
#include "gemm/tile_output.h"
#include "loopwright/thread_pool.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// Rows up to which the weights are converted in registers, for four rows at a time. More rows share values in memory.
constexpr int64_t kFewRows = 8;
// Magnitudes of x with which few rows are computed. Their products with numbers are divided by powers of two up to 2^14 and added
// up before the zero point is subtracted and the scale multiplies: nothing overflows, and nothing becomes subnormal.
constexpr float kLeast = 0x1p-96f, kMost = 0x1p96f;
// Numbers of k whose values are in memory at a time: with 16 or 32 columns they fit L1 or a part of L2.
constexpr int64_t kValuesDepth = 512;
// Numbers of a chunk of panels: some microseconds of work, so that claiming it costs little.
constexpr int64_t kChunkNumbers = 1 << 17;

int number_at(const uint8_t* row, int64_t place, int bits) {
  const int64_t bit = place * bits;
  return (row[bit / 8] >> (bit % 8)) & ((1 << bits) - 1);
}

bool is_ordinary(float x) { return x == 0.0f || (std::abs(x) >= kLeast && std::abs(x) <= kMost); }

BlockWeight checked(BlockWeight weight) {
  check_blocks(weight.k, weight.bits, weight.block);
  weight.block = std::min(weight.block, weight.k);
  const int per_word = 32 / weight.bits;
  if (weight.blocks() > 1 && weight.block % per_word != 0)
    throw std::invalid_argument("block must be a multiple of " + std::to_string(per_word) + ", got " +
                                std::to_string(weight.block));
  const int most = (1 << weight.bits) - 1;
  const uint8_t* const zeros = weight.zero_points;
  if (zeros && std::any_of(zeros, zeros + weight.n * weight.blocks(), [most](uint8_t zero) { return zero > most; }))
    throw std::invalid_argument("zero points must be at most " + std::to_string(most));
  return weight;
}

}  // namespace

void check_blocks(int64_t k, int64_t bits, int64_t block) {
  constexpr int64_t kMost = int64_t{1} << 40;  // the bits of a row, and what is computed from them, fit int64
  if (k < 1 || k > kMost) throw std::invalid_argument("k must be from 1 to 2^40, got " + std::to_string(k));
  if (bits != 2 && bits != 4 && bits != 8)
    throw std::invalid_argument("bits must be 2, 4 or 8, got " + std::to_string(bits));
  if (block < 1) throw std::invalid_argument("block must be at least 1, got " + std::to_string(block));
}

class BlockDense::Implementation {
 public:
  Implementation(const BlockWeight& weight, const LayerEpilogue& epilogue, Target target, int threads)
      : n(weight.n),
        k(weight.k),
        bits_(weight.bits),
        per_word_(32 / bits_),
        words_(ceil_div(k, per_word_)),
        block_words_(weight.blocks() == 1 ? words_ : weight.block / per_word_),
        target_(std::move(target)),
        threads_(threads),
        lanes_(kernel_table(target_).lanes),
        finite_scales_(std::all_of(weight.scales, weight.scales + n * weight.blocks(),
                                   [](float scale) { return std::isfinite(scale); })),
        constants_(epilogue, Matrix{nullptr, 0}, n, k, ceil_div(n, lanes_) * lanes_) {
    pack(weight);
  }

  void run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual) const {
    const LayerEpilogue epilogue = constants_.epilogue({});
    if (target_ == Isa::kReference) return run_reference(x, m, ReferenceOutput(epilogue, out, residual));
    const TileOutput output(kernel_table(target_), epilogue, out, residual);
    // Other x, and scales that are not finite, would answer otherwise than the definition does.
    if (m <= kFewRows && finite_scales_ && is_ordinary(x, m)) {
      run_few_rows(x, m, output);
    } else {
      run_many_rows(x, m, output);
    }
  }

  Activation activation() const { return constants_.activation; }

  const int64_t n, k;

 private:
  // Words of columns panel by panel: in a panel, for each word of k, a word of each column. The same for scales and zero points,
  // block by block. Columns that do not exist have scales of zero.
  void pack(const BlockWeight& weight) {
    const int width = target_ == Isa::kReference ? 1 : BlockWeightFunctions::kMaxVectors;
    const int64_t blocks = weight.blocks(), padded = ceil_div(n, lanes_) * lanes_;
    for (int64_t column = 0; column < n;) {
      const int vectors = static_cast<int>(std::min<int64_t>(width, ceil_div(n - column, lanes_)));
      const int nr = vectors * lanes_;
      panels_.push_back({column * words_, column, vectors, nr, static_cast<int>(std::min<int64_t>(nr, n - column))});
      column += nr;
    }
    numbers_ = make_weight_buffer(padded * words_);
    scales_ = make_weight_buffer(padded * blocks);
    if (weight.zero_points) zeros_.resize(static_cast<size_t>(padded * blocks));
    auto* const words = reinterpret_cast<uint8_t*>(numbers_.get());
    parallel(threads_, [&](int thread) {
      const auto count = static_cast<int64_t>(panels_.size());
      for (int64_t p = split_begin(count, threads_, thread); p < split_begin(count, threads_, thread + 1); ++p) {
        const Panel& panel = panels_[static_cast<size_t>(p)];
        for (int64_t j = 0; j < panel.n; ++j) {
          const uint8_t* row = weight.numbers + (panel.column + j) * weight.row_bytes();
          for (int64_t word = 0; word < words_; ++word) {
            constexpr int64_t kBytes = sizeof(uint32_t);
            const int64_t there = std::min(kBytes, weight.row_bytes() - word * kBytes);
            std::memcpy(words + (panel.offset + word * panel.nr + j) * kBytes, row + word * kBytes,
                        static_cast<size_t>(there));
          }
          for (int64_t b = 0; b < blocks; ++b) {
            const int64_t from = (panel.column + j) * blocks + b, to = panel.column * blocks + b * panel.nr + j;
            scales_[static_cast<size_t>(to)] = weight.scales[from];
            if (weight.zero_points) zeros_[static_cast<size_t>(to)] = weight.zero_points[from];
          }
        }
      }
    });
  }

  bool is_ordinary(const Matrix& x, int64_t m) const {
    bool all = true;
    for (int64_t i = 0; i < m; ++i) {
      const float* row = x.at<float>(i, 0);
      for (int64_t p = 0; p < k; ++p) all &= loopwright::is_ordinary(row[p]);
    }
    return all;
  }

  // The weights of a panel, in the range of words from `first` to `last`.
  BlockWeightArgs weights(const Panel& panel, int64_t first, int64_t last) const {
    const int64_t blocks = ceil_div(words_, block_words_), start = panel.column * blocks;
    return {reinterpret_cast<const uint32_t*>(numbers_.get() + panel.offset),
            scales_.get() + start,
            zeros_.empty() ? nullptr : zeros_.data() + start,
            1 << (bits_ - 1),
            first,
            last,
            block_words_};
  }

  // Calls f(slot, panel) for all panels, on the threads that are worth it.
  template <class F>
  void for_each_panel(int64_t m, const F& f) const {
    const auto count = static_cast<int64_t>(panels_.size());
    const int64_t each = panels_.front().nr * k * std::max<int64_t>(1, m / kFewRows);
    const int64_t per_chunk = std::clamp<int64_t>(kChunkNumbers / each, 1, std::max<int64_t>(1, count / threads_));
    const int threads = threads_worth(m * n * k / 16, threads_);  // about as much work as floats are read
    const int64_t chunks = ceil_div(count, per_chunk);
    parallel_chunks(threads, chunks, [&](int slot, int64_t chunk) {
      for (int64_t p = split_begin(count, chunks, chunk); p < split_begin(count, chunks, chunk + 1); ++p)
        f(slot, panels_[static_cast<size_t>(p)]);
    });
  }

  void run_few_rows(const Matrix& x, int64_t m, const TileOutput& output) const {
    const EvenSplit groups(m, BlockWeightFunctions::kMaxRows);
    const int64_t padded = words_ * per_word_, stride = padded + ceil_div(words_, block_words_);
    float* const factors = scratch(m * stride);
    for (int64_t group = 0, row = 0; group < groups.count; row += groups.size(group++))
      prepare(x, row, groups.size(group), factors + row * stride);
    const BlockWeightFunctions& functions = kernel_table(target_).block_weights.of(bits_);
    for_each_panel(m, [&](int, const Panel& panel) {
      for (int64_t group = 0, row = 0; group < groups.count; row += groups.size(group++)) {
        const auto mr = static_cast<int>(groups.size(group));
        const float* const of_rows = factors + row * stride;
        BrgemmArgs tile = tile_args();  // sums over nothing: the start and the end of the output
        output.run(tile, row, mr, panel, {true, false}, nullptr, 0);
        functions.products[panel.vectors][mr](
            {weights(panel, 0, words_), of_rows, of_rows + mr * padded, tile.c, tile.c_stride, panel.n});
        output.run(tile, row, mr, panel, {false, true}, nullptr, 0);
      }
    });
  }

  // Stores the x and the x_sums of BlockProductArgs for `rows` rows from `row` on.
  void prepare(const Matrix& x, int64_t row, int64_t rows, float* to) const {
    const int64_t padded = words_ * per_word_, half = per_word_ / 2, block = block_words_ * per_word_;
    std::fill_n(to + rows * k, rows * (padded - k), 0.0f);  // numbers behind the end of a row
    float* const sums = to + rows * padded;
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = x.at<float>(row + i, 0);
      for (int64_t p = 0; p < k; ++p) to[p * rows + i] = from[p] / static_cast<float>(1 << (bits_ * (p % half)));
      for (int64_t b = 0; b * block < k; ++b)
        sums[b * rows + i] = std::accumulate(from + b * block, from + std::min(k, (b + 1) * block), 0.0f);
    }
  }

  void run_many_rows(const Matrix& x, int64_t m, const TileOutput& output) const {
    const KernelTable& kernels = kernel_table(target_);
    const BlockWeightFunctions& functions = kernels.block_weights.of(bits_);
    const int64_t depth = std::min<int64_t>(words_, kValuesDepth / per_word_), parts = ceil_div(words_, depth);
    const SlotScratch values(depth * per_word_ * panels_.front().nr, threads_);
    for_each_panel(m, [&](int slot, const Panel& panel) {
      float* const own = values.of(slot);
      const EvenSplit tiles(m, kernels.max_mr(panel.nr));
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = part * depth, last = std::min(words_, first + depth);
        functions.values[panel.vectors](weights(panel, first, last), own);
        BrgemmArgs args = tile_args();
        args.batch = 1;
        args.k = std::min(k, last * per_word_) - first * per_word_;
        args.a_stride = x.stride;
        const float* const b = own;
        args.b = &b;
        for (int64_t tile = 0, row = 0; tile < tiles.count; row += tiles.size(tile++)) {
          const float* const a = x.at<float>(row, first * per_word_);
          args.a = &a;
          output.run(args, row, static_cast<int>(tiles.size(tile)), panel, {part == 0, part + 1 == parts}, nullptr, 0);
        }
      }
    });
  }

  void run_reference(const Matrix& x, int64_t m, const ReferenceOutput& output) const {
    parallel(threads_, [&](int thread) {
      const int64_t end = split_begin(n, threads_, thread + 1);
      for (int64_t j = split_begin(n, threads_, thread); j < end; ++j) {
        const BlockWeightArgs column = weights(panels_[static_cast<size_t>(j)], 0, words_);
        const auto* numbers = reinterpret_cast<const uint8_t*>(column.words);
        for (int64_t i = 0; i < m; ++i) {
          float sum = 0.0f;
          for (int64_t p = 0; p < k; ++p) {
            const int64_t block = p / per_word_ / block_words_;
            const int zero = column.zeros ? column.zeros[block] : column.zero;
            sum +=
                *x.at<float>(i, p) * (static_cast<float>(number_at(numbers, p, bits_) - zero) * column.scales[block]);
          }
          output.store(i, j, sum);
        }
      }
    });
  }

  static BrgemmArgs tile_args() {
    BrgemmArgs args{};
    args.count = 1;
    return args;
  }

  const int bits_, per_word_;
  const int64_t words_, block_words_;  // of k: of a row, and of a block
  const Target target_;
  const int threads_, lanes_;
  const bool finite_scales_;
  const LayerConstants constants_;
  std::vector<Panel> panels_;
  Buffer numbers_, scales_;  // words of numbers take the place of floats
  std::vector<uint8_t> zeros_;
};

BlockDense::BlockDense(const BlockWeight& weight, const LayerEpilogue& epilogue, Target target, int threads) {
  check_epilogue(epilogue);
  implementation_ = std::make_unique<const Implementation>(checked(weight), epilogue, std::move(target), threads);
}

BlockDense::BlockDense(BlockDense&&) noexcept = default;
BlockDense::~BlockDense() = default;

void BlockDense::run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual) const {
  implementation_->run(x, m, out, residual);
}

int64_t BlockDense::n() const { return implementation_->n; }
int64_t BlockDense::k() const { return implementation_->k; }
Activation BlockDense::activation() const { return implementation_->activation(); }

}  // namespace loopwright
