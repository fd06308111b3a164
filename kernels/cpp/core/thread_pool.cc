#include "loopwright/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/cpu_instructions.h"
#include "loopwright/float_mode.h"
#include "loopwright/machine_model.h"
#include "loopwright/simulation.h"

namespace loopwright {
namespace {

// Restricts the calling thread to `cpus`. Has no effect if the system does not allow it.
void run_on(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

constexpr size_t kLineBytes = 64;

// The time that an idle worker spins before it sleeps. Operators of a network follow each other within microseconds, and
// waking a sleeping thread takes tens of microseconds.
constexpr auto kSpin = std::chrono::milliseconds(1);

// Returns the CPUs that the calling thread may run on.
std::vector<int> allowed_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

// Waits some microseconds for done(), and returns its value.
template <class Condition>
bool spin(const Condition& done) {
  for (int i = 0; i < 64; ++i) {
    if (done()) return true;
    spin_pause();
  }
  return false;
}

// How often the workers were sent to sleep; see rest_pool().
std::atomic<unsigned> rests{0};

// The same for up to kSpin, or until the next rest_pool().
template <class Condition>
bool spin_long(const Condition& done) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  const unsigned before = rests.load(std::memory_order_relaxed);
  do {
    if (spin(done)) return true;
  } while (rests.load(std::memory_order_relaxed) == before && std::chrono::steady_clock::now() < deadline);
  return false;
}

// A body, and the CPU and the floating-point mode of its caller.
struct Call {
  ThreadBody body;
  int threads;
  int caller_cpu;
  FloatMode mode;
};

// One thread of the pool.
class Worker {
 public:
  explicit Worker(int thread) : thread_(thread), system_thread_([this] { work(); }) {}

  // The worker must be finished().
  void start(const Call& call) {
    call_ = call;
    state_.store(State::kCalled);
    // Either this sees that the worker sleeps, or the worker sees the call before it does: both orders are sequentially
    // consistent.
    if (!asleep_.load()) return;
    {
      const std::lock_guard<std::mutex> lock(sleep_);
    }
    wake_.notify_one();
  }
  // Takes the call back if the worker has not started it. Returns whether it did.
  bool take_back() {
    State called = State::kCalled;
    return state_.load(std::memory_order_relaxed) == called &&
           state_.compare_exchange_strong(called, State::kFinished, std::memory_order_relaxed);
  }
  bool finished() const { return state_.load(std::memory_order_acquire) == State::kFinished; }

 private:
  enum class State { kFinished, kCalled, kStarted };

  [[noreturn]] void work() {
    const std::vector<int> cpus = allowed_cpus();
    const auto called = [this] { return state_.load() == State::kCalled; };
    while (true) {
      if (!spin_long(called)) {
        std::unique_lock<std::mutex> lock(sleep_);
        asleep_.store(true);
        wake_.wait(lock, called);
        asleep_.store(false, std::memory_order_relaxed);
      }
      State expected = State::kCalled;
      if (!state_.compare_exchange_strong(expected, State::kStarted, std::memory_order_acquire)) continue;
      keep_off_the_caller(*call_, cpus);
      call_->mode.enter();
      call_->body(thread_);
      state_.store(State::kFinished, std::memory_order_release);
    }
  }

  // Moves the calling worker off the CPU of the caller, to the one `thread_` places after it. The system alone sometimes
  // leaves a worker on the CPU of the thread that waits for it, while another CPU is idle. The worker is not pinned there,
  // because the caller may move next.
  void keep_off_the_caller(const Call& call, const std::vector<int>& cpus) const {
    if (sched_getcpu() != call.caller_cpu || static_cast<int>(cpus.size()) < call.threads) return;
    const auto caller = std::find(cpus.begin(), cpus.end(), call.caller_cpu);
    if (caller == cpus.end()) return;
    run_on({cpus[static_cast<size_t>(caller - cpus.begin() + thread_) % cpus.size()]});
    run_on(cpus);
  }

  // All that a call moves between the two cores, in one cache line: each line takes about 0.1 µs from core to core. Nothing
  // else is in that line, or the worker would fetch it again whenever the other data changes.
  alignas(kLineBytes) std::atomic<State> state_{State::kFinished};
  std::optional<Call> call_;
  alignas(kLineBytes) std::atomic<bool> asleep_{false};
  std::mutex sleep_;
  std::condition_variable wake_;
  const int thread_;
  std::thread system_thread_;  // last, because it uses the other members
};

class Pool {
 public:
  bool try_run(int threads, ThreadBody body) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    const bool enough = grow(threads - 1);
    if (enough) {
      const Call call{body, threads, sched_getcpu(), FloatMode::current()};
      for (int t = 1; t < threads; ++t) workers_[t - 1]->start(call);
      body(0);
      // The caller runs the shares that no worker has started yet. So small operators are not shared, and the caller never
      // waits for a thread to wake up or to get a CPU.
      for (int t = 1; t < threads; ++t)
        if (workers_[t - 1]->take_back()) body(t);
      for (int t = 1; t < threads; ++t) {
        // Does not sleep, but yields: a worker may be waiting for this CPU.
        const auto finished = [&worker = *workers_[t - 1]] { return worker.finished(); };
        while (!spin(finished)) std::this_thread::yield();
      }
    }
    busy_.store(false, std::memory_order_release);
    return enough;
  }

 private:
  // Creates workers until there are `count` of them. Returns false if the system cannot create more.
  bool grow(int count) {
    try {
      workers_.reserve(static_cast<size_t>(count));
      for (int thread = static_cast<int>(workers_.size()) + 1; thread <= count; ++thread)
        workers_.push_back(std::make_unique<Worker>(thread));
    } catch (const std::exception&) {
      return false;
    }
    return true;
  }

  std::atomic<bool> busy_{false};  // true while a caller owns the workers
  std::vector<std::unique_ptr<Worker>> workers_;
};

// Never destroyed: its threads run until the process ends. After a fork the child has none of them, and starts with a new
// pool.
std::atomic<Pool*> pool{nullptr};

thread_local SimulatedShares* simulated = nullptr;  // of this thread

}  // namespace

// Adds regions to those of SimulatedShares.
class SimulatedRun {
 public:
  static void run(SimulatedShares& to, int threads, ThreadBody body) {
    using Clock = std::chrono::steady_clock;
    SimulatedRegion region{threads, std::vector<double>(static_cast<size_t>(threads), 0.0)};
    for (int t = 0; t < threads; ++t) {
      if (to.only_ >= 0 && t != to.only_) continue;
      const auto start = Clock::now();
      body(t);
      region.share_secs[static_cast<size_t>(t)] = std::chrono::duration<double>(Clock::now() - start).count();
    }
    to.regions_.push_back(std::move(region));
  }
};

SimulatedShares::SimulatedShares(int only) : only_(only) {
  if (simulated) throw std::logic_error("this thread simulates shares already");
  simulated = this;
}

SimulatedShares::~SimulatedShares() { simulated = nullptr; }

int64_t simulated_regions() { return simulated ? static_cast<int64_t>(simulated->regions().size()) : 0; }

void SpinBarrier::wait(int threads) {
  if (simulated) return;
  const unsigned phase = phase_.load(std::memory_order_relaxed);  // cannot change before this thread has arrived
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int turn = 1; phase_.load(std::memory_order_acquire) == phase; ++turn) {
    spin_pause();
    if (turn % 64 == 0) std::this_thread::yield();
  }
}

bool try_run_on_pool(int threads, ThreadBody body) {
  if (simulated) {
    SimulatedRun::run(*simulated, threads, body);
    return true;
  }
  static const int registered = pthread_atfork(nullptr, nullptr, [] { pool.store(new Pool); });
  static_cast<void>(registered);
  Pool* current = pool.load(std::memory_order_acquire);
  if (!current) {
    auto* fresh = new Pool;
    current = pool.compare_exchange_strong(current, fresh) ? fresh : (delete fresh, pool.load());
  }
  return current->try_run(threads, body);
}

void rest_pool() { rests.fetch_add(1, std::memory_order_relaxed); }

int64_t floats_worth_a_thread() {
  static const int64_t floats = host_model()->floats_worth_a_thread();
  return floats;
}

}  // namespace loopwright
