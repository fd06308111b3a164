#include "core/queue.h"

#include <pthread.h>

#include <algorithm>
#include <tuple>

namespace loopwright::serving {
namespace {

using Secs = std::chrono::duration<double>;

constexpr double kNewest = 0.1;  // the weight of the newest run in the mean

// Returns why a job is not computed any more, if so.
std::optional<Error> end_of(const Job& job, Clock::time_point now) {
  if (job.cancelled && job.cancelled->load(std::memory_order_relaxed))
    return Error(ErrorKind::kCancelled, "the caller left before the request was computed");
  if (job.deadline && now >= *job.deadline)
    return Error(ErrorKind::kDeadlineExceeded, "the deadline passed while the request was in the queue",
                 Rejection::kExpired);
  return std::nullopt;
}

// Calls the one who waits for a job that is not computed any more.
void end(Job& job) {
  try {
    job.done({}, end_of(job, Clock::now()));
  } catch (const std::exception&) {
    // Such as no memory for a response. Its caller gets none; the others do.
  }
}

void end(std::vector<Job>& jobs) {
  for (Job& job : jobs) end(job);
}

// By what jobs are sorted.
auto key_of(const Job& job, uint64_t serial) {
  return std::make_tuple(job.priority, job.deadline.value_or(Clock::time_point::max()), serial);
}

// Whether two jobs can be in a batch: their inputs have the same shapes but for the first dimension.
bool fit_together(const Job& a, const Job& b) {
  if (a.is_second || b.is_second) return false;
  return std::equal(a.inputs.begin(), a.inputs.end(), b.inputs.begin(), b.inputs.end(),
                    [](const Tensor& x, const Tensor& y) {
                      return x.shape().size() == y.shape().size() && !x.shape().empty() &&
                             std::equal(x.shape().begin() + 1, x.shape().end(), y.shape().begin() + 1);
                    });
}

}  // namespace

bool JobQueue::is_after(const Entry& a, const Entry& b) { return key_of(a.job, a.serial) > key_of(b.job, b.serial); }

Rejection JobQueue::push(Job& job) {
  std::vector<Job> ended;  // called without the mutex
  Rejection rejection;
  {
    const std::lock_guard lock(mutex_);
    if (heap_.size() >= limit_) ended = remove_ended();
    rejection = rejection_of(job);
    if (rejection == Rejection::kNone) {
      if (job.deadline) watch(*job.deadline);
      heap_.push_back({serial_++, std::move(job)});
      std::push_heap(heap_.begin(), heap_.end(), is_after);
    }
  }
  if (rejection == Rejection::kNone) filled_.notify_one();
  end(ended);
  return rejection;
}

void JobQueue::put_back(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (job.deadline) watch(*job.deadline);
    heap_.push_back({0, std::move(job)});  // before those of its priority and deadline
    std::push_heap(heap_.begin(), heap_.end(), is_after);
  }
  filled_.notify_one();
}

JobQueue::~JobQueue() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  expiry_changed_.notify_all();
  if (expirer_.joinable()) expirer_.join();
}

// Deadlines are mostly a constant time after the arrivals, so later than the next look: a job costs no wake-up of the thread.
void JobQueue::watch(Clock::time_point deadline) {
  if (deadline >= next_look_) return;
  if (!expirer_.joinable()) expirer_ = std::thread([this] { end_expired(); });
  next_look_ = deadline;
  expiry_changed_.notify_one();
}

void JobQueue::end_expired() {
  pthread_setname_np(pthread_self(), "lw-deadlines");
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (next_look_ == Clock::time_point::max()) {
      expiry_changed_.wait(lock);
    } else {
      expiry_changed_.wait_until(lock, next_look_);
    }
    if (Clock::now() < next_look_) continue;
    std::vector<Job> ended = remove_ended();
    next_look_ = Clock::time_point::max();
    for (const Entry& entry : heap_)
      if (entry.job.deadline) next_look_ = std::min(next_look_, *entry.job.deadline);
    lock.unlock();
    end(ended);
    ended.clear();
    lock.lock();
  }
}

Rejection JobQueue::rejection_of(const Job& job) const {
  if (heap_.size() >= limit_) return Rejection::kQueueFull;
  if (!job.deadline) return Rejection::kNone;
  // Those that wait and run before it, itself, and half of a run that is going on. Without these it is accepted: else one slow run
  // would keep all others out.
  const auto is_before = [&](const Entry& entry) { return key_of(entry.job, entry.serial) < key_of(job, serial_); };
  const auto before = static_cast<double>(std::count_if(heap_.begin(), heap_.end(), is_before));
  const Secs needed(mean_secs_ * (before / instances_ + 1.5));
  const bool is_late = before > 0 && Clock::now() + std::chrono::duration_cast<Clock::duration>(needed) > *job.deadline;
  return is_late ? Rejection::kTooLate : Rejection::kNone;
}

std::vector<Job> JobQueue::remove_ended() {
  const auto now = Clock::now();
  const auto place =
      std::partition(heap_.begin(), heap_.end(), [now](const Entry& entry) { return !end_of(entry.job, now); });
  std::vector<Job> ended;
  for (auto entry = place; entry != heap_.end(); ++entry) ended.push_back(std::move(entry->job));
  heap_.erase(place, heap_.end());
  std::make_heap(heap_.begin(), heap_.end(), is_after);
  return ended;
}

Job JobQueue::pop() {
  std::pop_heap(heap_.begin(), heap_.end(), is_after);
  Job job = std::move(heap_.back().job);
  heap_.pop_back();
  return job;
}

bool JobQueue::take(std::vector<Job>& jobs, int64_t most_items) {
  jobs.clear();
  int64_t items = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (jobs.empty()) filled_.wait(lock, [this] { return closed_ || !heap_.empty(); });
    if (heap_.empty()) return !jobs.empty();
    const Job& next = heap_.front().job;
    if (!jobs.empty() && (items + next.items > most_items || !fit_together(jobs.front(), next))) return true;
    Job job = pop();
    if (!end_of(job, Clock::now())) {
      items += job.items;
      jobs.push_back(std::move(job));
      if (items >= most_items) return true;
      continue;
    }
    lock.unlock();
    end(job);
    lock.lock();
  }
}

void JobQueue::note(Clock::duration compute) {
  const double secs = Secs(compute).count();
  const std::lock_guard lock(mutex_);
  mean_secs_ = mean_secs_ == 0 ? secs : mean_secs_ + kNewest * (secs - mean_secs_);
}

void JobQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  filled_.notify_all();
}

bool JobQueue::is_closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

bool JobQueue::is_idle() const {
  const std::lock_guard lock(mutex_);
  return heap_.empty() && !closed_;
}

size_t JobQueue::size() const {
  const std::lock_guard lock(mutex_);
  return heap_.size();
}

}  // namespace loopwright::serving
