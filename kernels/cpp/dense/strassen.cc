// With A = x and B = Wᵀ split into quarters, C = A·B takes seven products P and sums on both sides:
//
//   S1 = A21 + A22   S2 = S1 - A11    T1 = B12 - B11   T2 = B22 - T1    P1 = A11 B11   P4 = A22 T4   P6 = S2 T2
//   S3 = A11 - A21   S4 = A12 - S2    T3 = B22 - B12   T4 = T2 - B21    P2 = A12 B21   P5 = S1 T1    P7 = S3 T3
//                                                                       P3 = S4 B22
//   C11 = P1 + P2    C12 = P1 + P6 + P5 + P3    C21 = P1 + P6 + P7 - P4    C22 = P1 + P6 + P7 + P5
//
// The T are computed and packed once. Sums of products start the accumulators of the next product, which takes a load and no
// pass over memory. What remains is two passes over quarters of the output and one over the input. If FMAs take mnk/16
// cycles with vectors of 16, this saves an eighth of them for about 3/16 cycles per element of input and output.
//
//   for blocks of rows:      S1..S4 of them
//     for parts of columns:  the products, each a separate dense layer on one thread
//
// so intermediate results stay in L2. Each thread has separate rows and columns, and does not wait for another.
//
// If the number of rows is odd, the lower quarters have one row less, which counts as zero.
#include "strassen.h"

#include <algorithm>
#include <array>
#include <exception>
#include <stdexcept>

#include "core/split.h"
#include "gemm/epilogue.h"
#include "loopwright/machine.h"
#include "loopwright/thread_pool.h"
#include "packed_dense.h"

namespace loopwright {
namespace {

constexpr int64_t kColumns = 512;  // columns of a part, whose quarters fit L2 together with those of the input
constexpr int64_t kFloatBytes = sizeof(float);
constexpr int64_t kUnfinished = -1;

Matrix matrix(const float* data, int64_t stride) { return {const_cast<float*>(data), stride, Dtype::kFloat32}; }

}  // namespace

// Columns that are computed together, with the sums of their weights.
struct Strassen::Part {
  int64_t column, half;
  std::unique_ptr<PackedDense> p1, p2, p3, p4, p5, p6, p7;

  // In execution order.
  std::array<PackedDense*, 7> products() const {
    return {p1.get(), p2.get(), p6.get(), p7.get(), p4.get(), p5.get(), p3.get()};
  }
};

// Memory of one thread: sums of quarters of the input, and of products.
struct Strassen::Work {
  int64_t s_stride, c_stride;
  float *s1, *s2, *s3, *s4, *u2, *u3, *p5, *zeros;
};

bool Strassen::applies(Isa isa, Dtype dtype, int64_t n, int64_t k, int threads_n) {
  if (isa == Isa::kReference || dtype != Dtype::kFloat32) return false;
  return k % 2 == 0 && n % (2 * kernel_table(isa).lanes * threads_n) == 0;
}

Strassen::Strassen(const Matrix& weight, int64_t n, int64_t k, const LayerEpilogue& layer, const Target& target,
                   int threads_n)
    : n_(n), k_(k), activation_(layer.activation), kernels_(kernel_table(target)), threads_n_(threads_n) {
  if (!applies(target, weight.dtype, n, k, threads_n))
    throw std::invalid_argument(
        "schedule: Strassen's algorithm needs an even k, n a multiple of two vectors per thread, and float32");
  if (layer.slopes) slopes_.assign(layer.slopes, layer.slopes + n);
  const float* const bias = layer.bias;
  const int64_t unit = 2 * kernels_.lanes, k2 = k / 2;
  const EvenSplit split(n / threads_n / unit, std::max<int64_t>(1, kColumns / unit));
  for (int64_t thread = 0, column = 0; thread < threads_n; ++thread)
    for (int64_t i = 0; i < split.count; ++i) {
      const int64_t half = split.size(i) * unit / 2;
      const int nr = default_dense_width(target, Dtype::kFloat32, half, k2, 1, k);
      const auto w = [&](int64_t lower, int64_t right, int64_t j, int64_t p) {  // quarters of B, transposed
        return static_cast<double>(*weight.at<float>(column + right * half + j, lower * k2 + p));
      };
      std::vector<float> values(static_cast<size_t>(half * k2)), first(half), second(half), both(half);
      for (int64_t j = 0; bias && j < half; ++j) {
        first[j] = bias[column + j];
        second[j] = bias[column + half + j];
        both[j] = first[j] - second[j];
      }
      // `finished` is the first column of the output that the product finishes, or kUnfinished.
      const auto product = [&](const std::vector<float>* added, int64_t finished, const auto& t) {
        for (int64_t j = 0; j < half; ++j)
          for (int64_t p = 0; p < k2; ++p) values[j * k2 + p] = static_cast<float>(t(j, p));
        LayerEpilogue epilogue{bias && added ? added->data() : nullptr, Activation::kNone, nullptr};
        if (finished >= 0) {
          epilogue.activation = layer.activation;
          epilogue.slopes = layer.slopes ? layer.slopes + finished : nullptr;
        }
        auto panels = std::make_shared<const DensePanels>(matrix(values.data(), k2), half, k2, epilogue, target, nr, 1);
        return std::make_unique<PackedDense>(std::move(panels), 1, std::nullopt);
      };
      const auto b11 = [&](int64_t j, int64_t p) { return w(0, 0, j, p); };
      const auto b12 = [&](int64_t j, int64_t p) { return w(0, 1, j, p); };
      const auto b21 = [&](int64_t j, int64_t p) { return w(1, 0, j, p); };
      const auto b22 = [&](int64_t j, int64_t p) { return w(1, 1, j, p); };
      const auto t1 = [&](int64_t j, int64_t p) { return b12(j, p) - b11(j, p); };
      const auto t2 = [&](int64_t j, int64_t p) { return b22(j, p) - t1(j, p); };
      Part part{column, half, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
      // The bias of C22 is added to U3 = P1 + P6 + P7, and must be subtracted again from C21.
      part.p1 = product(nullptr, kUnfinished, b11);
      part.p2 = product(&first, column, b21);
      part.p3 = product(&second, column + half, b22);
      part.p4 = product(&both, column, [&](int64_t j, int64_t p) { return b21(j, p) - t2(j, p); });  // -T4
      part.p5 = product(nullptr, kUnfinished, t1);
      part.p6 = product(nullptr, kUnfinished, t2);
      part.p7 = product(&second, kUnfinished, [&](int64_t j, int64_t p) { return b22(j, p) - b12(j, p); });
      parts_.push_back(std::move(part));
      widest_ = std::max(widest_, half);
      column += 2 * half;
    }
  for (size_t i = 0; i < parts_.size(); ++i) {
    const std::array<PackedDense*, 7> own = parts_[i].products();
    for (size_t p = 0; p + 1 < own.size(); ++p) own[p]->prefetch_layer(*own[p + 1]);
    if (i + 1 < parts_.size()) own.back()->prefetch_layer(*parts_[i + 1].products().front());
  }
}

Strassen::~Strassen() = default;

void Strassen::evict_weights() const {
  for (const Part& part : parts_)
    for (const PackedDense* product : part.products()) product->evict_weights();
}

int64_t Strassen::rows_at_once() const {
  const int64_t row_bytes = (4 * k_ / 2 + 3 * widest_) * kFloatBytes;  // of half the rows
  return 2 * std::max<int64_t>(cache_bytes()[1] * 3 / 4 / row_bytes, 8);
}

Strassen::Work Strassen::work(float* floats) const {
  const int64_t half = rows_at_once() / 2;
  Work work{spread_stride(k_ / 2),
            spread_stride(widest_),
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            nullptr};
  for (float** s : {&work.s1, &work.s2, &work.s3, &work.s4}) {
    *s = floats;
    floats += half * work.s_stride;
  }
  for (float** c : {&work.u2, &work.u3, &work.p5}) {
    *c = floats;
    floats += half * work.c_stride;
  }
  work.zeros = floats;
  return work;
}

void Strassen::run(const Matrix& x, int64_t m, const Matrix& out, const Matrix& residual, int threads_m) const {
  const int64_t each = static_cast<int64_t>(parts_.size()) / threads_n_;
  const int threads = threads_m * threads_n_;
  std::vector<std::exception_ptr> failures(static_cast<size_t>(threads));
  parallel(threads, [&](int thread) {
    try {
      const int64_t i = thread / threads_n_, j = thread % threads_n_;
      const int64_t begin = split_begin(m, threads_m, i), rows = split_begin(m, threads_m, i + 1) - begin;
      const Work layout = work(nullptr);
      const int64_t floats = layout.zeros - layout.s1 + k_ / 2;
      const Work own = work(scratch(floats, ScratchOf::kStrassen));
      std::fill_n(own.zeros, k_ / 2, 0.0f);
      if (rows == 0) return;
      const EvenSplit blocks(rows, rows_at_once());
      for (int64_t b = 0, row = begin; b < blocks.count; row += blocks.size(b++)) {
        sum_quarters(own, x, row, blocks.size(b));
        for (int64_t p = j * each; p < (j + 1) * each; ++p)
          run_rows(parts_[p], own, x, row, blocks.size(b), out, residual);
      }
    } catch (...) {  // out of memory; the threads of the pool must not throw
      failures[static_cast<size_t>(thread)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

void Strassen::sum_quarters(const Work& work, const Matrix& x, int64_t row, int64_t rows) const {
  const int64_t k2 = k_ / 2, upper = ceil_div(rows, 2);
  for (int64_t i = 0; i < upper; ++i) {
    const bool below = upper + i < rows;
    const float* top = x.at<float>(row + i, 0);
    const float* bottom = below ? x.at<float>(row + upper + i, 0) : nullptr;
    const int64_t at = i * work.s_stride;
    kernels_.strassen_sums({top, top + k2, below ? bottom : work.zeros, below ? bottom + k2 : work.zeros, work.s1 + at,
                            work.s2 + at, work.s3 + at, work.s4 + at, k2});
  }
}

void Strassen::run_rows(const Part& part, const Work& work, const Matrix& x, int64_t row, int64_t rows,
                        const Matrix& out, const Matrix& residual) const {
  const int64_t upper = ceil_div(rows, 2), lower = rows - upper, k2 = k_ / 2, half = part.half;
  const auto a = [&](int64_t below, int64_t right) {
    return matrix(x.at<float>(row + below * upper, right * k2), x.stride);
  };
  const auto s = [&](const float* data) { return matrix(data, work.s_stride); };
  const auto quarter = [&](const Matrix& of, int64_t below, int64_t right) {
    return matrix(of.at<float>(row + below * upper, part.column + right * half), of.stride);
  };
  const Matrix u2 = matrix(work.u2, work.c_stride), u3 = matrix(work.u3, work.c_stride),
               p5 = matrix(work.p5, work.c_stride), none = matrix(nullptr, 0);
  const Epilogue epilogue(activation_, slopes_.empty() ? nullptr : slopes_.data(), kernels_);
  const auto add = [&](const Matrix& left, const Matrix& right, const Matrix& to, int64_t count,
                       const TileActivation& clamp) {
    for (int64_t i = 0; i < count; ++i)
      kernels_.clamped_sum({left.at<float>(i, 0), right.at<float>(i, 0), to.at<float>(i, 0), half, clamp.lo, clamp.hi});
  };
  const auto plus = [&](const Matrix& left, const Matrix& right, const Matrix& to, int64_t count) {
    add(left, right, to, count, TileActivation{});
  };
  // The residual of the layer for a quarter of the output.
  const auto layer_residual = [&](int64_t below, int64_t right) {
    return residual.data ? quarter(residual, below, right) : none;
  };

  const Matrix c11 = quarter(out, 0, 0), c12 = quarter(out, 0, 1), c21 = quarter(out, 1, 0), c22 = quarter(out, 1, 1);
  // Chosen once, for the rows that lie furthest apart: each choice takes as long as a small product.
  const DenseSchedule schedule = part.p1->schedule(upper, x.stride);
  part.p1->run(schedule, a(0, 0), upper, u2, none);
  part.p2->run(schedule, a(0, 1), upper, c11, u2, layer_residual(0, 0));
  part.p6->run(schedule, s(work.s2), upper, u2, u2);
  part.p7->run(schedule, s(work.s3), upper, u3, u2);
  if (lower > 0) part.p4->run(schedule, a(1, 1), lower, c21, u3, layer_residual(1, 0));
  part.p5->run(schedule, s(work.s1), upper, p5, none);
  if (residual.data) plus(u3, layer_residual(1, 1), u3, lower);
  add(u3, p5, c22, lower, epilogue);
  if (epilogue.activate && lower > 0)
    epilogue.apply(c22.at<float>(0, 0), c22.stride, static_cast<int>(lower), static_cast<int>(half),
                   part.column + half);
  plus(u2, p5, p5, upper);
  part.p3->run(schedule, s(work.s4), upper, c12, p5, layer_residual(0, 1));
}

}  // namespace loopwright
