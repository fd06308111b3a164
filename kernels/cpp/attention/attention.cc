// A block of queries passes through both products while its scores are in cache:
//
//   S = q·kᵀ (rows × keys)   →   P = weights of S (microkernels/attention_weights.h), in place   →   out = P·v
//
// For each head, kᵀ and v are packed once into the panels that the microkernel reads. q and P are its A, read in place.
//
// bfloat16: words are pairs along the axis of a sum (gemm/words.h). q, k and v are rounded first, and P in place, in the front half of
// its rows.
#include "loopwright/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/schedule_checks.h"
#include "core/split.h"
#include "gemm/panels.h"
#include "gemm/words.h"
#include "loopwright/matrix.h"
#include "loopwright/thread_pool.h"
#include "microkernels/reference/reference.h"

namespace loopwright {
namespace {

void check(const AttentionSchedule& s, Isa isa, Dtype dtype, int threads) {
  for (const auto& [mr, nr] : {std::pair{s.scores_mr, s.scores_nr}, std::pair{s.values_mr, s.values_nr}})
    check_register_tile(kernel_table(isa, dtype), mr, nr, isa);
  check_blocks("rows", {s.rows});
  if (s.threads < 1 || s.threads > threads)
    throw std::invalid_argument("schedule: threads must be between 1 and " + std::to_string(threads) + ", got " +
                                std::to_string(s.threads));
}

// c (rows, n) = a (rows, k) · B, where B is packed as `panels`. k and the stride of a are in words.
void multiply(const KernelTable& kernels, const Matrix& a, int64_t rows, int64_t k, const std::vector<Panel>& panels,
              const float* packed, int mr, const Matrix& c) {
  const EvenSplit tiles(rows, mr);
  BrgemmArgs args{};
  args.batch = 1;
  args.k = k;
  args.a_stride = a.stride;
  args.c_stride = c.stride;
  for (const Panel& panel : panels) {
    const float* a_tile = a.at<float>(0, 0);
    const float* b_tile = packed + panel.offset;
    args.a = &a_tile;
    args.b = &b_tile;
    args.c = c.at<float>(0, panel.column);
    args.n = panel.n;
    for (int64_t tile = 0; tile < tiles.count; tile += args.count) {
      const auto height = static_cast<int>(tiles.size(tile));
      args.count = tiles.alike(tile);
      args.a_step = height * a.stride;
      args.c_step = height * c.stride;
      kernels.tile(height, panel.vectors, panel.n)(args);
      a_tile += args.count * args.a_step;
      args.c += args.count * args.c_step;
    }
  }
}

// The arguments and sizes of a call, for all threads.
struct Plan {
  const KernelTable& kernels;
  AttentionSchedule schedule;
  AttentionShape shape;
  float scale;
  bool or_zero;
  std::vector<Panel> key_panels, value_panels;
  AttentionInputs in;
  Rows<float> out;

  bool rounds() const { return kernels.tile_k > 1; }
  // Words of the sums of both products.
  int64_t head_words() const { return to_words(shape.head_dim, kernels.tile_k); }
  int64_t key_words() const { return to_words(shape.keys, kernels.tile_k); }
  int64_t key_floats() const {
    return PanelRows{1, head_words(), kernels.lanes}.packed_floats(shape.keys, kernels.lanes);
  }
  int64_t value_floats() const {
    return PanelRows{1, key_words(), kernels.lanes}.packed_floats(shape.head_dim, kernels.lanes);
  }
  int64_t score_floats() const { return schedule.rows * spread_stride(shape.keys); }
  // Rounded rows of q or k, or pairs of rows of v.
  int64_t rounded_floats() const {
    if (!rounds()) return 0;
    return whole_lines(std::max(schedule.rows, 2 * key_words()) * head_words());
  }

  // Memory of one thread: the packed head, the scores of a block, and rounded rows.
  struct Workspace {
    float *keys, *values, *scores, *rounded;
  };
  int64_t workspace_floats() const { return key_floats() + value_floats() + score_floats() + rounded_floats(); }
  Workspace workspace(float* data) const {
    float *const values = data + key_floats(), *const scores = values + value_floats();
    return {data, values, scores, scores + score_floats()};
  }

  // Rounds rows of head_dim floats to rows of words.
  void round_rows(const float* from, int64_t stride, int64_t rows, float* to) const {
    if (shape.head_dim % kernels.tile_k != 0)  // half of the last word has no element
      for (int64_t i = 0; i < rows; ++i) to[(i + 1) * head_words() - 1] = 0.0f;
    kernels.narrow(from, stride, reinterpret_cast<Bfloat16*>(to), kernels.tile_k * head_words(), static_cast<int>(rows),
                   static_cast<int>(shape.head_dim));
  }

  void pack_rounded(int64_t batch, int64_t head, const Workspace& work) const {
    round_rows(in.k.at(batch, 0, head), in.k.row_stride, shape.keys, work.rounded);
    for (const Panel& panel : key_panels)
      kernels.transpose(work.rounded + panel.column * head_words(), head_words(), panel.n, head_words(),
                        work.keys + panel.offset, panel.nr);
    round_rows(in.v.at(batch, 0, head), in.v.row_stride, shape.keys, work.rounded);
    if (shape.keys % 2 == 1)  // the other row of the last pair
      std::memset(work.rounded + shape.keys * head_words(), 0, static_cast<size_t>(head_words() * kWordBytes));
    for (int64_t p = 0; p < key_words(); ++p) {
      const auto* const first = reinterpret_cast<const uint16_t*>(work.rounded + 2 * p * head_words());
      const uint16_t* const second = first + 2 * head_words();
      for (const Panel& panel : value_panels) {
        auto* const to = reinterpret_cast<uint32_t*>(work.values + panel.offset + p * panel.nr);
        for (int64_t j = 0; j < panel.n; ++j)
          to[j] = first[panel.column + j] | static_cast<uint32_t>(second[panel.column + j]) << 16;
        std::fill(to + panel.n, to + panel.nr, 0u);
      }
    }
  }

  void pack(int64_t batch, int64_t head, const Workspace& work) const {
    if (rounds()) return pack_rounded(batch, head, work);
    for (const Panel& panel : key_panels)
      kernels.transpose(in.k.at(batch, panel.column, head), in.k.row_stride, panel.n, shape.head_dim,
                        work.keys + panel.offset, panel.nr);
    for (const Panel& panel : value_panels)
      for (int64_t p = 0; p < shape.keys; ++p) {
        float* to = work.values + panel.offset + p * panel.nr;
        std::memcpy(to, in.v.at(batch, p, head) + panel.column, static_cast<size_t>(panel.n) * sizeof(float));
        std::fill(to + panel.n, to + panel.nr, 0.0f);
      }
  }

  // Computes the queries row_begin to row_begin + rows - 1 of the packed head.
  void run_block(int64_t batch, int64_t head, int64_t row_begin, int64_t rows, const Workspace& work) const {
    const Matrix scores{work.scores, spread_stride(shape.keys)};
    Matrix queries{const_cast<float*>(in.q.at(batch, row_begin, head)), in.q.row_stride};
    if (rounds()) {
      round_rows(in.q.at(batch, row_begin, head), in.q.row_stride, rows, work.rounded);
      queries = {work.rounded, head_words()};
    }
    multiply(kernels, queries, rows, head_words(), key_panels, work.keys, schedule.scores_mr, scores);
    AttentionWeightsArgs weights{work.scores, scores.stride, work.scores, scores.stride, rows, shape.keys, scale};
    weights.or_zero = or_zero;
    if (in.mask.data) {
      weights.mask = in.mask.at(batch, row_begin, head);
      weights.mask_stride = in.mask.row_stride;
    }
    kernels.attention_weights(weights);
    if (rounds()) {
      auto* const words = reinterpret_cast<Bfloat16*>(work.scores);
      const int64_t stride = kernels.tile_k * scores.stride;
      kernels.narrow(work.scores, scores.stride, words, stride, static_cast<int>(rows), static_cast<int>(shape.keys));
      if (shape.keys % kernels.tile_k != 0)
        for (int64_t i = 0; i < rows; ++i) words[i * stride + shape.keys] = {0};
    }
    multiply(kernels, scores, rows, key_words(), value_panels, work.values, schedule.values_mr,
             {out.at(batch, row_begin, head), out.row_stride});
  }
};

// Each thread computes consecutive blocks. If its blocks end within a head, the next thread packs the head again, which is
// cheaper than waiting.
void run_blocks(const Plan& plan) {
  const AttentionShape& shape = plan.shape;
  const int threads = plan.schedule.threads;
  const int64_t blocks = ceil_div(shape.queries, plan.schedule.rows);  // per head
  const int64_t all = shape.batch * shape.heads * blocks;
  const SlotScratch data(plan.workspace_floats(), threads);
  std::vector<int64_t> packed(static_cast<size_t>(threads), -1);  // the head that each slot has packed
  parallel_chunks(threads, all, [&](int slot, int64_t i) {
    const Plan::Workspace work = plan.workspace(data.of(slot));
    const int64_t index = i / blocks, batch = index / shape.heads, head = index % shape.heads, block = i % blocks;
    if (std::exchange(packed[static_cast<size_t>(slot)], index) != index) plan.pack(batch, head, work);
    const int64_t row_begin = split_begin(shape.queries, blocks, block);
    plan.run_block(batch, head, row_begin, split_begin(shape.queries, blocks, block + 1) - row_begin, work);
  });
}

// Computes one query after the other, by the definition.
void run_reference(const AttentionShape& shape, float scale, bool or_zero, int threads, const AttentionInputs& in,
                   const Rows<float>& out) {
  const int64_t all = shape.batch * shape.heads * shape.queries;
  const SlotScratch data(shape.keys, threads);
  parallel(threads, [&](int thread) {
    float* scores = data.of(thread);
    const int64_t end = split_begin(all, threads, thread + 1);
    for (int64_t i = split_begin(all, threads, thread); i < end; ++i) {
      const int64_t row = i % shape.queries, head = i / shape.queries % shape.heads;
      const int64_t batch = i / shape.queries / shape.heads;
      const float* query = in.q.at(batch, row, head);
      for (int64_t j = 0; j < shape.keys; ++j) {
        const float* key = in.k.at(batch, j, head);
        scores[j] = 0.0f;
        for (int64_t p = 0; p < shape.head_dim; ++p) scores[j] += query[p] * key[p];
      }
      const float* added = in.mask.data ? in.mask.at(batch, row, head) : nullptr;
      reference_attention_weights({scores, 0, scores, 0, 1, shape.keys, scale, added, 0, or_zero});
      float* answer = out.at(batch, row, head);
      std::fill(answer, answer + shape.head_dim, 0.0f);
      for (int64_t j = 0; j < shape.keys; ++j) {
        const float* value = in.v.at(batch, j, head);
        for (int64_t p = 0; p < shape.head_dim; ++p) answer[p] += scores[j] * value[p];
      }
    }
  });
}

}  // namespace

Attention::Attention(int64_t heads, int64_t head_dim, std::optional<float> scale, Target target, int threads,
                     std::optional<AttentionSchedule> schedule, bool or_zero, Dtype dtype)
    : heads_(heads),
      head_dim_(head_dim),
      scale_(scale.value_or(1.0f / std::sqrt(static_cast<float>(head_dim)))),
      target_(std::move(target)),
      threads_(threads),
      fixed_(schedule),
      or_zero_(or_zero),
      dtype_(dtype) {
  if (is_integer(dtype)) throw std::invalid_argument("attention is float32 or bfloat16");
  check_dtype(dtype, target_);
  if (fixed_ && target_ != Isa::kReference) check(*fixed_, target_, dtype, threads);
}

AttentionSchedule Attention::schedule(int64_t batch, int64_t queries, int64_t keys) const {
  return fixed_ ? *fixed_
                : default_attention_schedule(target_, dtype_, {batch, heads_, queries, keys, head_dim_}, threads_);
}

void Attention::run(int64_t batch, int64_t queries, int64_t keys, const AttentionInputs& inputs,
                    Rows<float> out) const {
  const AttentionShape shape{batch, heads_, queries, keys, head_dim_};
  AttentionSchedule s = schedule(batch, queries, keys);
  if (target_ == Isa::kReference) return run_reference(shape, scale_, or_zero_, s.threads, inputs, out);
  s.rows = std::min(s.rows, queries);
  const KernelTable& kernels = kernel_table(target_, dtype_);
  const PanelRows of_keys{1, to_words(head_dim_, kernels.tile_k), kernels.lanes};
  const PanelRows of_values{1, to_words(keys, kernels.tile_k), kernels.lanes};
  run_blocks({kernels, s, shape, scale_, or_zero_, split_panels(keys, of_keys, s.scores_nr),
              split_panels(head_dim_, of_values, s.values_nr), inputs, out});
}

}  // namespace loopwright
