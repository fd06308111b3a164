#include "core/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {

Chunks::Chunks(int threads, int64_t count) : threads_(threads) {
  if (threads > kFew) {
    many_ = std::make_unique<Claim[]>(static_cast<size_t>(threads));
    claims_ = many_.get();
  }
  for (int t = 0; t < threads; ++t) {
    claims_[t].next.store(split_begin(count, threads, t), std::memory_order_relaxed);
    claims_[t].end = split_begin(count, threads, t + 1);
  }
}

bool Chunks::steal(int64_t& chunk) {
  while (true) {
    Claim* richest = nullptr;
    int64_t most = 0;
    for (int t = 0; t < threads_; ++t) {
      const int64_t left = claims_[t].end - claims_[t].next.load(std::memory_order_relaxed);
      if (left > most) {
        most = left;
        richest = &claims_[t];
      }
    }
    if (!richest) return false;
    if (claim(*richest, chunk)) return true;
  }
}

}  // namespace loopwright
