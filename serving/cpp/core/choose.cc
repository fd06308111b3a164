#include "core/choose.h"

#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <random>
#include <thread>

#include "core/batch.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

using Secs = std::chrono::duration<double>;

constexpr double kLoad = 0.8;            // of the capacity, for the latency
constexpr double kEqual = 0.97;          // of the most items per second
constexpr int kRuns = 20;                // at least, if they take less than kLongest
constexpr Secs kTime{0.5}, kLongest{3};  // of each of the two measurements
constexpr int kArrivals = 200;

// Sends requests of one item and waits for them.
class Sender {
 public:
  Sender(Servable& model, int64_t most) : model_(model), free_(most), most_(most) {
    const auto tensors = zeros(model.inputs(), 1);
    for (size_t i = 0; i < tensors.size(); ++i) request_.inputs.push_back({model.inputs()[i].name, tensors[i]});
  }
  ~Sender() { wait(); }

  // Waits until fewer than `most` requests run. `begin` is from when its latency counts.
  void send(Clock::time_point begin) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return free_ > 0; });
      if (error_) throw *error_;
      --free_;
    }
    const auto ended = [this, begin](const Result& result) {
      const std::lock_guard lock(mutex_);
      if (result.error) error_ = result.error;
      latencies_.push_back(Secs(Clock::now() - begin).count());
      ++free_;
      changed_.notify_all();
    };
    try {
      model_.submit(request_, ended);
    } catch (const Error& error) {
      ended({{}, error});
    }
  }
  // Returns the latencies, in seconds.
  const std::vector<double>& wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return free_ == most_; });
    return latencies_;
  }
  void check() {
    wait();
    if (error_) throw *error_;
  }

 private:
  Servable& model_;
  Request request_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t free_;
  const int64_t most_;
  std::optional<Error> error_;
  std::vector<double> latencies_;
};

// Returns the requests per second if there are always some that wait.
double capacity(Servable& model, int64_t in_flight) {
  Sender sender(model, in_flight);
  const Clock::time_point start = Clock::now();
  int64_t sent = 0;
  for (Secs time(0); (time < kTime || sent < kRuns) && time < kLongest; time = Clock::now() - start, ++sent)
    sender.send(Clock::now());
  sender.check();
  return static_cast<double>(sent) / Secs(Clock::now() - start).count();
}

// Returns the latency in seconds that 99 % of requests stay within, if they arrive at random, `rate` in a second.
double p99(Servable& model, double rate, int64_t most) {
  Sender sender(model, most);
  std::minstd_rand source(1);  // the same arrivals for each candidate
  std::exponential_distribution<double> gap(rate);
  const Clock::time_point start = Clock::now();
  double at = 0;
  for (int i = 0; (i < kArrivals || at < kTime.count()) && at < kLongest.count(); ++i) {
    const Clock::time_point arrival = start + std::chrono::duration_cast<Clock::duration>(Secs(at));
    std::this_thread::sleep_until(arrival);
    sender.send(arrival);
    at += gap(source);
  }
  sender.check();
  std::vector<double> sorted = sender.wait();
  std::sort(sorted.begin(), sorted.end());
  return sorted[(sorted.size() - 1) * 99 / 100];
}

}  // namespace

std::vector<Candidate> candidates(const std::vector<std::string>& runtimes, int cores, int most_threads, int threads) {
  std::vector<int> numbers;
  for (int number = 1; number <= most_threads; number *= 2) numbers.push_back(number);
  if (numbers.back() != most_threads) numbers.push_back(most_threads);
  if (threads > 0) numbers = {threads};
  std::vector<Candidate> result;
  for (const std::string& runtime : runtimes)
    for (const int number : numbers) result.push_back({runtime, std::max(1, cores / number), number, 0, 0, ""});
  return result;
}

void measure(Candidate& candidate, Servable& model, int64_t most_items, bool has_objective) {
  const int64_t in_flight = 2 * candidate.instances * most_items;
  candidate.items_per_sec = capacity(model, std::min<int64_t>(in_flight, model.max_queue()));
  if (has_objective) candidate.p99_ms = 1e3 * p99(model, kLoad * candidate.items_per_sec, model.max_queue());
}

const Candidate& best_of(const std::vector<Candidate>& measured, double slo_ms) {
  std::vector<const Candidate*> able;
  std::string reasons;
  for (const Candidate& each : measured) {
    if (each.reason.empty())
      able.push_back(&each);
    else if (reasons.find(each.reason) == std::string::npos)
      reasons += (reasons.empty() ? "" : "; ") + each.runtime + ": " + each.reason;
  }
  if (able.empty()) throw Error(ErrorKind::kFailedPrecondition, reasons);
  std::vector<const Candidate*> within;
  for (const Candidate* each : able)
    if (slo_ms == 0 || each->p99_ms <= slo_ms) within.push_back(each);
  if (within.empty())
    return **std::min_element(able.begin(), able.end(),
                              [](const Candidate* a, const Candidate* b) { return a->p99_ms < b->p99_ms; });
  double most = 0;
  for (const Candidate* each : within) most = std::max(most, each->items_per_sec);
  const Candidate* best = nullptr;
  for (const Candidate* each : within) {
    if (each->items_per_sec < kEqual * most) continue;
    const bool is_better = !best || each->threads > best->threads ||
                           (each->threads == best->threads && each->items_per_sec > best->items_per_sec);
    if (is_better) best = each;
  }
  return *best;
}

bool same_candidates(const std::vector<Candidate>& a, const std::vector<Candidate>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Candidate& x, const Candidate& y) {
    return x.runtime == y.runtime && x.instances == y.instances && x.threads == y.threads;
  });
}

std::vector<Candidate> read_candidates(const std::string& path) {
  simdjson::dom::parser parser;
  simdjson::dom::array rows;
  std::vector<Candidate> result;
  if (parser.load(path).get(rows)) return {};
  for (const simdjson::dom::element& row : rows) {
    Candidate read;
    std::string_view runtime, reason;
    int64_t instances, threads;
    const bool is_whole = !row["runtime"].get(runtime) && !row["reason"].get(reason) &&
                          !row["instances"].get(instances) && !row["threads"].get(threads) &&
                          !row["items_per_sec"].get(read.items_per_sec) && !row["p99_ms"].get(read.p99_ms);
    if (!is_whole || instances < 1 || threads < 1 || instances > 4096 || threads > 4096) return {};
    read.runtime = runtime;
    read.reason = reason;
    read.instances = static_cast<int>(instances);
    read.threads = static_cast<int>(threads);
    result.push_back(std::move(read));
  }
  const bool has_able =
      std::any_of(result.begin(), result.end(), [](const Candidate& each) { return each.reason.empty(); });
  return has_able ? result : std::vector<Candidate>();
}

void write_candidates(const std::string& path, const std::vector<Candidate>& measured) {
  std::string text = "[";
  for (const Candidate& each : measured) {
    char numbers[160];
    std::snprintf(numbers, sizeof(numbers), "\"instances\":%d,\"threads\":%d,\"items_per_sec\":%.6e,\"p99_ms\":%.6e",
                  each.instances, each.threads, each.items_per_sec, each.p99_ms);
    std::string reason;
    for (const char c : each.reason) reason += c == '"' || c == '\\' || (c >= 0 && c < ' ') ? '\'' : c;
    text += (text.size() > 1 ? ",\n" : "\n") + ("{\"runtime\":\"" + each.runtime + "\",") + numbers + ",\"reason\":\"" +
            reason + "\"}";
  }
  const std::filesystem::path target(path);
  std::error_code none;
  std::filesystem::create_directories(target.parent_path(), none);
  const std::string part = path + "." + std::to_string(getpid()) + ".part";
  {
    std::ofstream file(part, std::ios::trunc);
    file << text << "\n]\n";
  }
  std::filesystem::rename(part, target, none);  // without a record it is measured again
}

}  // namespace loopwright::serving
