// Tests of the engine's parts that need no model, such as batches, the queue and cores. Prints the condition that fails.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <thread>

#include <loopwright/topology.h>

#include "core/batch.h"
#include "core/choose.h"
#include "core/cores.h"
#include "core/lend.h"
#include "core/names.h"
#include "core/queue.h"
#include "core/statistics.h"
#include "core/upload.h"
#include "core/version_files.h"
#include "loopwright/serving/engine.h"

namespace {

using namespace loopwright::serving;
using std::chrono::milliseconds;

#define CHECK(condition)                                                       \
  if (!(condition)) {                                                          \
    std::fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition); \
    std::exit(1);                                                              \
  }

// Batches whose runs of `size` items take `millis[size]`.
Batches batches(const std::map<int64_t, int>& millis) {
  std::vector<int64_t> sizes;
  for (const auto& [size, time] : millis) sizes.push_back(size);
  const std::vector<TensorSpec> inputs{{"x", DataType::kUint8, {-1, 2}}};
  return Batches::measure(sizes, inputs, [&millis](const std::vector<Tensor>& given) {
    return Timed{milliseconds(millis.at(given[0].shape()[0])), given};
  });
}

// triton#8251, triton#7492: larger batches are used where they were measured to gain.
void test_batches_are_divided_by_their_times() {
  const Batches paying = batches({{1, 10}, {2, 11}, {4, 12}, {8, 13}});
  CHECK(paying.best() == 8);
  CHECK((paying.divide(5) == std::vector<int64_t>{4, 1}));
  CHECK((paying.divide(8) == std::vector<int64_t>{8}));
  const Batches useless = batches({{1, 10}, {2, 21}, {4, 43}});
  CHECK(useless.best() == 1);
  CHECK((useless.divide(3) == std::vector<int64_t>{1, 1, 1}));
  for (int64_t items = 1; items < 60; ++items) {
    int64_t sum = 0;
    for (const int64_t size : paying.divide(items)) sum += size;
    CHECK(sum == items);
  }
}

void test_candidates_use_all_cores() {
  const auto rows = candidates({"a", "b"}, 6, 6, 0);
  CHECK(rows.size() == 8);  // 1, 2, 4 and 6 threads in each
  CHECK(rows[1].runtime == "a" && rows[1].threads == 2 && rows[1].instances == 3);
  CHECK(rows[7].runtime == "b" && rows[7].threads == 6 && rows[7].instances == 1);
  CHECK(candidates({"a"}, 6, 6, 4).size() == 1);
  CHECK(candidates({"a"}, 6, 3, 0).back().threads == 3);
}

void test_the_best_candidate() {
  std::vector<Candidate> rows{{"a", 4, 1, 100, 9, ""}, {"a", 1, 4, 98, 3, ""}, {"b", 2, 2, 80, 2, ""}};
  CHECK(best_of(rows, 0).threads == 4);  // as fast as the first, within 3 %
  rows[1].items_per_sec = 90;
  CHECK(best_of(rows, 0).threads == 1);
  CHECK(best_of(rows, 5).threads == 4);
  CHECK(best_of(rows, 2.5).runtime == std::string("b"));
  CHECK(best_of(rows, 1).runtime == std::string("b"));  // none is within it: the nearest
  for (Candidate& row : rows) row.reason = "it fails";
  try {
    best_of(rows, 0);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(std::string(error.what()) == "a: it fails");
  }
}

Job job(int priority, std::optional<milliseconds> left, std::vector<int>& ended, int name) {
  Job made;
  made.priority = priority;
  made.arrival = Clock::now();
  if (left) made.deadline = made.arrival + *left;
  made.cancelled = std::make_shared<std::atomic<bool>>(false);
  made.inputs.push_back(Tensor::of(DataType::kUint8, {1}, std::string(1, static_cast<char>(name))));
  made.done = [&ended, name](std::vector<Tensor>, std::optional<Error> error) {
    ended.push_back(error ? -name : name);
  };
  return made;
}

int name_of(const Job& taken) { return taken.inputs[0].view()[0]; }

void test_the_queue_is_sorted() {
  std::vector<int> ended;
  JobQueue queue(10, 1);
  for (Job made : {job(5, {}, ended, 1), job(5, milliseconds(60'000), ended, 2), job(5, milliseconds(50'000), ended, 3),
                   job(1, {}, ended, 4), job(5, {}, ended, 5)})
    CHECK(queue.push(made) == Rejection::kNone);
  std::vector<Job> taken;
  for (const int expected : {4, 3, 2, 1, 5}) {
    CHECK(queue.take(taken));
    CHECK(name_of(taken.at(0)) == expected);
  }
  CHECK(queue.is_idle());
  queue.close();
  CHECK(!queue.take(taken));
}

// triton#6920, ray#41057: a request whose caller has left, or whose deadline has passed (below), is dropped from the queue.
void test_what_ended_makes_room() {
  std::vector<int> ended;
  JobQueue queue(2, 1);
  Job first = job(1, {}, ended, 1), second = job(1, {}, ended, 2), third = job(1, {}, ended, 3),
      fourth = job(1, {}, ended, 4), fifth = job(1, {}, ended, 5);
  const auto left = first.cancelled, left_too = second.cancelled;
  CHECK(queue.push(first) == Rejection::kNone);
  CHECK(queue.push(second) == Rejection::kNone);
  left->store(true);
  left_too->store(true);
  CHECK(queue.push(third) == Rejection::kNone);
  CHECK((ended == std::vector<int>{-1, -2} || ended == std::vector<int>{-2, -1}));
  CHECK(queue.push(fourth) == Rejection::kNone);
  CHECK(queue.push(fifth) == Rejection::kQueueFull);
  CHECK(queue.size() == 2);
}

void test_a_job_ends_at_its_deadline_while_nobody_takes_jobs() {
  std::atomic<int> name{0}, calls{0};
  const auto timed = [&](int number, milliseconds left) {
    std::vector<int> unused;
    Job made = job(1, left, unused, number);
    made.done = [&name, &calls, number](std::vector<Tensor>, const std::optional<Error>& error) {
      CHECK(error && error->kind() == ErrorKind::kDeadlineExceeded);
      name = number;
      ++calls;
    };
    return made;
  };
  std::vector<int> ended;
  JobQueue queue(10, 1);
  Job open = job(1, {}, ended, 1), later = timed(2, milliseconds(60'000)), soon = timed(3, milliseconds(5));
  CHECK(queue.push(open) == Rejection::kNone);
  CHECK(queue.push(later) == Rejection::kNone);
  CHECK(queue.push(soon) == Rejection::kNone);  // the wait for the later one is cut short
  while (calls == 0) std::this_thread::sleep_for(milliseconds(1));
  CHECK(name == 3 && calls == 1 && queue.size() == 2 && ended.empty());
  std::vector<Job> taken;
  CHECK(queue.take(taken) && name_of(taken[0]) == 2);  // sorted as before
}

void test_a_deadline_that_cannot_be_met() {
  std::vector<int> ended;
  JobQueue queue(10, 1);
  queue.note(milliseconds(100'000));
  Job alone = job(1, milliseconds(10'000), ended, 1), late = job(1, milliseconds(50'000), ended, 2),
      early = job(0, milliseconds(50'000), ended, 3);
  CHECK(queue.push(alone) == Rejection::kNone);  // nothing waits before it
  CHECK(queue.push(late) == Rejection::kTooLate);
  CHECK(queue.push(early) == Rejection::kNone);  // it passes the others
}

// bento#3859, triton#3776: the items of a batch count, and all have one shape.
void test_jobs_of_one_shape_are_taken_together() {
  std::vector<int> ended;
  JobQueue queue(10, 1);
  for (int name = 1; name <= 4; ++name) {
    Job made = job(1, {}, ended, name);
    made.items = name == 4 ? 1 : 2;
    made.inputs[0] = Tensor::of(DataType::kUint8, {made.items, name == 3 ? 2 : 1}, std::string(4, 'x'));
    CHECK(queue.push(made) == Rejection::kNone);
  }
  std::vector<Job> taken;
  CHECK(queue.take(taken, 8) && taken.size() == 2);  // the third has another shape
  CHECK(queue.take(taken, 8) && taken.size() == 1);
  CHECK(queue.take(taken, 8) && taken.size() == 1);
}

// ovms#3136, ort#3099, triton#2018, triton#6748: all instances share one set of cores, one run at a time on each.
void test_cores() {
  Cores cores({0, 1, 2, 3});
  const auto sets = cores.assign(2, 2);
  CHECK((sets[0] == CoreSet{0, 1} && sets[1] == CoreSet{2, 3}));
  const CoreSet all{0, 1, 2, 3}, one{2};
  std::vector<int> order;
  std::mutex mutex;
  std::optional<Cores::Lease> first(std::in_place, cores, sets[0]);
  CHECK(cores.busy() == 2);
  CHECK(!Cores::Lease(cores, all, std::try_to_lock).held());
  std::thread wide([&] {
    const Cores::Lease lease(cores, all);
    const std::lock_guard lock(mutex);
    order.push_back(4);
  });
  while (Cores::Lease(cores, one, std::try_to_lock).held()) std::this_thread::sleep_for(milliseconds(1));
  std::thread narrow([&] {  // its core is free, but kept for the one that waits for all
    const Cores::Lease lease(cores, one);
    const std::lock_guard lock(mutex);
    order.push_back(1);
  });
  std::this_thread::sleep_for(milliseconds(20));
  first.reset();
  wide.join();
  narrow.join();
  CHECK((order == std::vector<int>{4, 1}));
  CHECK(cores.busy() == 0);
}

// ovms#2721, openvino#37838: threads follow the quota of the control group, not the cores of the host.
void test_the_quota_limits_the_cores() {
  loopwright::Topology topology;
  for (int cpu = 0; cpu < 8; ++cpu) topology.cpus.push_back({cpu, cpu / 2 * 2, 0, false});  // 4 cores with two threads
  CHECK((Cores(topology).cpus() == CoreSet{0, 2, 4, 6}));
  topology.quota = 2.5;
  CHECK((Cores(topology).cpus() == CoreSet{0, 2}));
  CHECK(Cores(topology).most_threads() == 2);
  topology.quota = 0.5;
  CHECK(Cores(topology).cpus().size() == 1);
}

void test_names() {
  for (const char* good : {"a", "A-1_b.c", "0"}) CHECK(is_name(good));
  for (const char* bad : {"", ".", "..", ".a", "a/b", "a b", "-a", "\xc3\xa4"}) CHECK(!is_name(bad));
  CHECK(!is_name(std::string(129, 'a')));
  CHECK(printable("a\nb\x01\xff") == "a b??");
  CHECK(log_value("a \"b\"\n") == "\"a 'b' \"");
}

void test_what_is_lent_ends_on_the_thread_of_its_owner() {
  struct Noted {
    std::thread::id& ended;
    ~Noted() { ended = std::this_thread::get_id(); }
  };
  std::thread::id ended;
  std::atomic<bool> is_used{true};
  std::shared_ptr<Noted> owner = lend(std::unique_ptr<Noted>(new Noted{ended}));
  std::thread user([&is_used, lent = owner]() mutable {
    std::this_thread::sleep_for(milliseconds(20));
    is_used = false;
    lent.reset();
  });
  take_back(std::move(owner));
  CHECK(!is_used);
  CHECK(ended == std::this_thread::get_id());
  user.join();
  lend(std::unique_ptr<Noted>(new Noted{ended = {}})).reset();  // nobody takes it back
  CHECK(ended == std::this_thread::get_id());
}

void test_series_are_there_as_long_as_somebody_uses_them() {
  Metrics metrics;
  const prometheus::Labels labels{{"model", "m"}};
  std::vector<std::thread> users;
  for (int i = 0; i < 4; ++i)
    users.emplace_back([&] {
      for (int n = 0; n < 2000; ++n) metrics.requests.get(labels)->Increment();
    });
  for (std::thread& user : users) user.join();
  const auto first = metrics.requests.get(labels);
  first->Increment();
  CHECK(metrics.requests.get(labels)->Value() == first->Value());
}

void test_a_record_without_an_able_candidate_does_not_count() {
  const std::string path = std::filesystem::current_path() / "x.measured.json";
  std::vector<Candidate> rows{{"a", 4, 1, 100, 9, "it fails"}, {"a", 1, 4, 98, 3, ""}};
  write_candidates(path, rows);
  CHECK(read_candidates(path).size() == 2);
  rows[1].reason = "it fails";
  write_candidates(path, rows);
  CHECK(read_candidates(path).empty());
}

// A version has all of its files, also if it is discarded while it becomes one.
void test_uploads_at_the_same_time() {
  const std::filesystem::path repository = std::filesystem::current_path() / "uploads";
  const Uploads uploads(repository, {});
  const std::string bytes(1000, 'x');
  std::map<std::string, std::string> digests;
  for (const char* name : {"a", "b", "c", "d"}) digests[name] = sha256_of(bytes);
  int made = 0;
  for (int64_t version = 1; version <= 20; ++version) {
    std::atomic<bool> done{false};
    std::thread other([&] {
      while (!done) uploads.discard("m", version);
    });
    for (int i = 0; i < 100 && !std::filesystem::exists(repository / "m" / std::to_string(version)); ++i) try {
        for (const auto& [name, digest] : digests) uploads.append("m", version, name, 0, bytes);
        uploads.commit("m", version, digests);
      } catch (const Error&) {  // a file was discarded
      }
    done = true;
    other.join();
    if (!std::filesystem::exists(repository / "m" / std::to_string(version))) continue;
    ++made;
    for (const auto& [name, digest] : digests)
      CHECK(sha256_of_file(repository / "m" / std::to_string(version) / name) == digest);
  }
  CHECK(made > 0);
}

void test_no_model_is_added_after_the_end() {
  const std::filesystem::path folder = std::filesystem::current_path() / "repository";
  EngineOptions options;
  options.repository = folder;
  options.poll = milliseconds(0);
  std::filesystem::create_directories(folder / "before");
  Engine engine(options);
  engine.start();
  engine.stop_loading();
  std::filesystem::create_directories(folder / "after");
  try {
    engine.load("after");
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kNotFound);
  }
}

}  // namespace

int main() {
  test_candidates_use_all_cores();
  test_the_best_candidate();
  test_batches_are_divided_by_their_times();
  test_the_queue_is_sorted();
  test_what_ended_makes_room();
  test_a_job_ends_at_its_deadline_while_nobody_takes_jobs();
  test_a_deadline_that_cannot_be_met();
  test_jobs_of_one_shape_are_taken_together();
  test_cores();
  test_the_quota_limits_the_cores();
  test_names();
  test_what_is_lent_ends_on_the_thread_of_its_owner();
  test_series_are_there_as_long_as_somebody_uses_them();
  test_no_model_is_added_after_the_end();
  test_a_record_without_an_able_candidate_does_not_count();
  test_uploads_at_the_same_time();
}
