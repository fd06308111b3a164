// Runs parallel regions with random delays and numbers of threads and chunks, on two pools at once, and checks that each chunk
// ran exactly once. `make sanitize` builds it with ThreadSanitizer. Argument: the number of regions.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "loopwright/machine_model.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
// The pool reads one cost of the machine model, which this program does not need.
std::shared_ptr<const MachineModel> host_model() { return nullptr; }
int64_t MachineModel::floats_worth_a_thread() const { return 1; }
}  // namespace loopwright

namespace {

constexpr int64_t kMostChunks = 64;
constexpr int kMostThreads = 5;

void pause(uint32_t random) {
  if (random % 50000 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random / 50000 % 3000));
}

// Returns whether all regions were right.
bool stress(int64_t regions, uint32_t seed, std::chrono::microseconds spin) {
  loopwright::ThreadPool pool({}, spin);
  const loopwright::PoolScope scope(&pool);
  std::mt19937 random(seed);
  std::vector<int64_t> runs(kMostChunks), expected(kMostChunks);  // not atomic: a race is an error
  for (int64_t region = 0; region < regions; ++region) {
    const int threads = 1 + static_cast<int>(random() % kMostThreads);
    const int64_t chunks = 1 + random() % kMostChunks;
    const uint32_t delay = random();
    loopwright::parallel_chunks(threads, chunks, [&](int, int64_t chunk) {
      pause(delay + static_cast<uint32_t>(chunk) * 7919);
      ++runs[static_cast<size_t>(chunk)];
    });
    for (int64_t chunk = 0; chunk < chunks; ++chunk) ++expected[static_cast<size_t>(chunk)];
    if (region % 16 == 0) {
      std::vector<int> shares(static_cast<size_t>(threads));
      loopwright::parallel(threads, [&](int thread) { ++shares[static_cast<size_t>(thread)]; });
      for (const int share : shares)
        if (share != 1) return false;
    }
    if (region % 1024 == 0) loopwright::rest_pool();
    pause(delay);
  }
  return runs == expected;
}

}  // namespace

int main(int count, char** arguments) {
  const int64_t regions = count > 1 ? std::atoll(arguments[1]) : 1000000;
  std::atomic<bool> right{true};
  std::thread other([&] {
    if (!stress(regions / 2, 1, std::chrono::microseconds(0))) right = false;
  });
  if (!stress(regions / 2, 2, loopwright::ThreadPool::kSpin)) right = false;
  other.join();
  std::printf("%lld regions, %s\n", static_cast<long long>(regions), right ? "each chunk once" : "WRONG");
  return right ? 0 : 1;
}
