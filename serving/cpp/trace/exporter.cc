#include "trace/exporter.h"

#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <pthread.h>

#include <boost/system/system_error.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>

namespace loopwright::serving::trace {
namespace {

constexpr size_t kBatch = 512, kMostSpans = 8192;
constexpr std::chrono::milliseconds kInterval{500};  // between two batches that are not full
constexpr std::chrono::milliseconds kPause{2000};    // after a failure
constexpr std::chrono::milliseconds kTimeout{2000};  // of sending a batch
constexpr std::chrono::milliseconds kClosing{1000};

// Whether the collector may take the same batch later, by the protocol.
bool is_temporary(int status) { return status == 429 || status == 502 || status == 503 || status == 504; }

prometheus::Counter& counter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

}  // namespace

struct Exporter::State {
  State(Endpoint endpoint_, std::string version_, std::function<void(const std::string&)> log_)
      : endpoint(std::move(endpoint_)), version(std::move(version_)), log(std::move(log_)) {}

  void run();
  // Waits for spans, and moves some to the batch. Returns false if there will not be more.
  bool take(std::vector<Span>& batch);
  // Sends the batch, and empties it unless it can be sent later.
  void send(std::vector<Span>& batch);
  void note_failure(const std::string& reason);

  const Endpoint endpoint;
  const std::string version;
  const std::function<void(const std::string&)> log;
  prometheus::Registry registry;
  prometheus::Counter &sent = counter(registry, "loopwright_spans_sent_total", "Spans that the collector took"),
                      &dropped = counter(registry, "loopwright_spans_dropped_total", "Spans that were not sent"),
                      &failures = counter(registry, "loopwright_span_batches_failed_total",
                                          "Attempts to send spans that the collector did not take");

  std::mutex mutex;  // for what follows
  std::condition_variable changed;
  std::deque<Span> spans;
  bool is_closing = false, has_ended = false;

  bool is_down = false;  // of the thread: the last attempt failed
};

bool Exporter::State::take(std::vector<Span>& batch) {
  std::unique_lock lock(mutex);
  changed.wait_for(lock, is_down ? kPause : kInterval,
                   [this] { return is_closing || (!is_down && spans.size() >= kBatch); });
  while (batch.size() < kBatch && !spans.empty()) {
    batch.push_back(std::move(spans.front()));
    spans.pop_front();
  }
  return !is_closing || !batch.empty();
}

void Exporter::State::note_failure(const std::string& reason) {
  failures.Increment();
  if (!std::exchange(is_down, true) && log)
    log("event=\"traces are not sent\" collector=" + endpoint.host + ":" + endpoint.port + " reason=\"" + reason + '"');
}

void Exporter::State::send(std::vector<Span>& batch) {
  try {
    const int status = post(endpoint, write_spans(batch, version), kTimeout);
    if (status / 100 == 2) {
      sent.Increment(static_cast<double>(batch.size()));
      is_down = false;
      return batch.clear();
    }
    note_failure("it answered with status " + std::to_string(status));
    if (is_temporary(status)) return;
  } catch (const boost::system::system_error& error) {
    return note_failure(error.code().message());
  } catch (const std::exception& error) {
    return note_failure(error.what());
  }
  dropped.Increment(static_cast<double>(batch.size()));
  batch.clear();
}

void Exporter::State::run() {
  pthread_setname_np(pthread_self(), "lw-trace");
  std::vector<Span> batch;
  while (take(batch)) {
    if (!batch.empty()) send(batch);
    const std::lock_guard lock(mutex);
    if (is_closing && is_down) break;
  }
  const std::lock_guard lock(mutex);
  has_ended = true;
  changed.notify_all();
}

Exporter::Exporter(Endpoint endpoint, std::string server_version, std::function<void(const std::string&)> log)
    : state_(std::make_shared<State>(std::move(endpoint), std::move(server_version), std::move(log))),
      thread_([state = state_] { state->run(); }) {}

Exporter::~Exporter() { close(); }

void Exporter::add(Span span) noexcept try {
  bool is_full;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->is_closing || state_->spans.size() >= kMostSpans) return state_->dropped.Increment();
    state_->spans.push_back(std::move(span));
    is_full = state_->spans.size() == kBatch;
  }
  if (is_full) state_->changed.notify_all();
} catch (const std::exception&) {  // no memory
  state_->dropped.Increment();
}

void Exporter::close() {
  if (!thread_.joinable()) return;
  std::unique_lock lock(state_->mutex);
  state_->is_closing = true;
  state_->changed.notify_all();
  const bool has_ended = state_->changed.wait_for(lock, kClosing, [this] { return state_->has_ended; });
  lock.unlock();
  has_ended ? thread_.join() : thread_.detach();
}

std::string Exporter::metrics() const { return prometheus::TextSerializer().Serialize(state_->registry.Collect()); }

}  // namespace loopwright::serving::trace
