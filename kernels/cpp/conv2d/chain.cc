// A layer whose output does not fit L2 writes it to L3 or memory, and the next layer reads it back. For layers with few
// operations per byte, such as depthwise convolutions and convolutions with few channels, this takes longer than the
// computation. So a slab of rows passes through all stages before the next slab:
//
//   for each slab of rows of the last output
//     for each stage, first to last
//       move the rows that the next windows still need to the front of the stage's slab
//       compute the rows that are new
//
// Only rows at the borders between threads are computed twice. Each thread takes consecutive rows of an image.
#include "loopwright/conv2d_chain.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <stdexcept>

#include "core/buffer.h"
#include "core/schedule_checks.h"
#include "core/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

// The slabs take half of L2. The other half holds weights and data that stream through.
constexpr int64_t kShareOfL2 = 2;

int64_t in_lines(int64_t bytes) {
  constexpr int64_t kLine = 64;
  return ceil_div(bytes, kLine) * kLine;
}

}  // namespace

Conv2dChain::Conv2dChain(const std::vector<Stage>& stages, const Images& images, const Target& target, int threads,
                         std::optional<int64_t> rows)
    : images_(images.n), threads_(threads) {
  if (stages.empty()) throw std::invalid_argument("a chain must have at least one stage");
  if (rows) check_blocks("rows", {*rows});
  Images image{1, images.h, images.w};
  int64_t channels = stages.front().geometry.c;
  for (const Stage& stage : stages) {
    const Conv2dGeometry& g = stage.geometry;
    const int64_t oh = g.output_h(image.h), ow = g.output_w(image.w);
    if (g.c != channels || oh < 1 || ow < 1)
      throw std::invalid_argument("the input of each stage of a chain must be the output of the stage before it");
    links_.push_back({image, g, oh, ow, stage.out, nullptr});
    image = {1, oh, ow};
    channels = g.o;
  }

  const int64_t oh = links_.back().oh;
  const int64_t room = target.model->cache_bytes[1] / kShareOfL2;
  rows_ = rows ? std::min(*rows, oh) : 1;
  while (!rows && rows_ < oh && slab_bytes(slab_rows(rows_ + 1)) <= room) ++rows_;

  heights_ = slab_rows(rows_);
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = stages[i];
    std::optional<Conv2d::Schedule> schedule;
    const Conv2dGeometry& g = stage.geometry;
    const Images& in = links_[i].in;
    // A pointwise stage is a matrix product over the pixels of a slab.
    const Images computed{1, g.pointwise() ? heights_[i] : in.h, in.w};
    if (target.isa != Isa::kReference)
      schedule = default_conv2d_schedule(target, stage.weights.dtype(), g, computed, 1, false);
    links_[i].op = std::make_unique<Conv2d>(stage.weights, g, 1, schedule);
  }
}

Conv2dChain::Rows Conv2dChain::under(const Link& link, Rows rows) {
  const Conv2dGeometry& g = link.geometry;
  const int64_t first = rows.begin * g.stride_h - g.pad_top,
                last = (rows.end - 1) * g.stride_h - g.pad_top + g.span_h();
  const int64_t begin = std::clamp<int64_t>(first, 0, link.in.h);
  return {begin, std::clamp<int64_t>(last, begin, link.in.h)};
}

std::vector<int64_t> Conv2dChain::slab_rows(int64_t rows) const {
  std::vector<int64_t> heights(links_.size(), rows);
  for (size_t i = links_.size(); --i > 0;) {
    const Conv2dGeometry& g = links_[i].geometry;
    heights[i - 1] = std::min(links_[i].in.h, (heights[i] - 1) * g.stride_h + g.span_h());
  }
  return heights;
}

int64_t Conv2dChain::slab_bytes(const std::vector<int64_t>& heights) const {
  int64_t bytes = 0;
  for (size_t i = 0; i + 1 < links_.size(); ++i) bytes += in_lines(heights[i] * links_[i].row_bytes());
  return bytes;
}

void Conv2dChain::run(const void* x, Dtype x_dtype, void* out, const void* residual, Dtype residual_dtype) const {
  const Link &first = links_.front(), &last = links_.back();
  const int64_t lines = images_ * last.oh, in_pixels = first.in.h * first.in.w, out_pixels = last.oh * last.ow;
  const Matrix in{const_cast<void*>(x), first.geometry.c, x_dtype}, to{out, last.geometry.o, last.out};
  const Matrix added{const_cast<void*>(residual), last.geometry.o, residual_dtype};
  const auto from = [](const Matrix& m, int64_t pixel) {
    return Matrix{m.data ? m.address(pixel, 0) : nullptr, m.stride, m.dtype};
  };
  std::vector<std::exception_ptr> failures(static_cast<size_t>(threads_));
  parallel(threads_, [&](int thread) {
    try {
      auto* slabs = reinterpret_cast<char*>(
          scratch(slab_bytes(heights_) / static_cast<int64_t>(sizeof(float)), ScratchOf::kChain));
      const int64_t end = split_begin(lines, threads_, thread + 1);
      for (int64_t line = split_begin(lines, threads_, thread), next; line < end; line = next) {
        const int64_t image = line / last.oh, begin = line % last.oh;
        next = std::min(end, (image + 1) * last.oh);
        run_range(from(in, image * in_pixels), from(to, image * out_pixels), from(added, image * out_pixels),
                  {begin, begin + next - line}, slabs);
      }
    } catch (...) {  // out of memory; the threads of the pool must not throw
      failures[static_cast<size_t>(thread)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

void Conv2dChain::run_range(const Matrix& x, const Matrix& out, const Matrix& residual, Rows range, char* slabs) const {
  const size_t count = links_.size();
  std::vector<Rows> held(count, Rows{0, 0});  // rows of the output of each stage that its slab starts with
  std::vector<Rows> wanted(count);
  const EvenSplit pieces(range.count(), rows_);
  for (int64_t piece = 0, begin = range.begin; piece < pieces.count; begin += pieces.size(piece++)) {
    wanted.back() = {begin, begin + pieces.size(piece)};
    for (size_t i = count - 1; i > 0; --i) wanted[i - 1] = under(links_[i], wanted[i]);

    Matrix in = x;
    char* slab = slabs;
    for (size_t i = 0; i < count; ++i) {
      const Link& link = links_[i];
      if (i + 1 == count) {
        link.op->run_rows(in, link.in, wanted[i].begin, wanted[i].end, out, residual);
        break;
      }
      const int64_t row = link.row_bytes();
      const int64_t fresh = std::max(held[i].end, wanted[i].begin);
      if (fresh > wanted[i].begin)
        std::memmove(slab, slab + (wanted[i].begin - held[i].begin) * row,
                     static_cast<size_t>((fresh - wanted[i].begin) * row));
      held[i] = wanted[i];
      const Matrix row_0{slab - wanted[i].begin * row, link.geometry.o, link.out};
      if (fresh < wanted[i].end) link.op->run_rows(in, link.in, fresh, wanted[i].end, row_0, {});
      in = row_0;
      slab += in_lines(heights_[i] * row);
    }
  }
}

}  // namespace loopwright
