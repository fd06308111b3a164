// Requests that wait for an instance of a version.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "loopwright/serving/request.h"

namespace loopwright::serving {

// A request whose inputs are in the order of the model's, checked.
struct Job {
  std::vector<Tensor> inputs;
  int64_t items = 1;  // the first dimension of all inputs, if the model has batches
  int priority = 0;
  Clock::time_point arrival;
  std::optional<Clock::time_point> deadline;
  std::shared_ptr<std::atomic<bool>> cancelled;
  TraceContext trace;
  std::function<void(std::vector<Tensor>, std::optional<Error>)> done;
  bool is_second = false;  // its first run lost the instance: it runs alone
};

// Jobs by priority, then deadline, then arrival. Jobs end when their deadlines pass, also while all instances are busy. Thread-safe.
class JobQueue {
 public:
  explicit JobQueue(size_t limit, int instances) : limit_(limit), instances_(instances) {}
  ~JobQueue();
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  // Returns kNone, kQueueFull or kTooLate. Leaves `job` as it is if it is rejected.
  Rejection push(Job& job);
  // Takes a job again that take() returned, however full the queue is.
  void put_back(Job job);
  // Waits for a job and moves it to `jobs`, with those behind it that can run in the same batch, up to `most_items` items. Ends
  // jobs that were cancelled or whose deadline passed, without returning them. Returns false if the queue is closed and empty.
  bool take(std::vector<Job>& jobs, int64_t most_items = 1);
  // Notes how long a job ran.
  void note(Clock::duration compute);
  // Rejects further jobs. Those inside are still taken.
  void close();
  size_t size() const;
  bool is_closed() const;
  // Whether it takes jobs and has none.
  bool is_idle() const;

 private:
  struct Entry {
    uint64_t serial;
    Job job;
  };
  // Whether `a` comes after `b`, for a heap whose first element is the next job.
  static bool is_after(const Entry& a, const Entry& b);
  // With the mutex held: why a job is not accepted; the next job, which is removed; those that are not computed any more, which are
  // removed.
  Rejection rejection_of(const Job& job) const;
  Job pop();
  std::vector<Job> remove_ended();
  // Makes the thread below look at the queue by the time of a deadline. With the mutex held.
  void watch(Clock::time_point deadline);
  void end_expired();

  const size_t limit_;
  const int instances_;
  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::vector<Entry> heap_;
  uint64_t serial_ = 0;
  bool closed_ = false;
  double mean_secs_ = 0;  // of a run, exponentially weighted

  // Ends jobs whose deadlines have passed. Starts with the first deadline.
  std::thread expirer_;
  std::condition_variable expiry_changed_;
  Clock::time_point next_look_ = Clock::time_point::max();
  bool ending_ = false;
};

}  // namespace loopwright::serving
