// Sends spans to a collector, in batches and on its own thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "trace/post.h"
#include "trace/span.h"

namespace loopwright::serving::trace {

// A collector that fails or is slow costs nobody time: spans that its buffer has no place for are dropped and counted. Thread-safe.
class Exporter {
 public:
  // `log` gets a line when the collector begins to fail.
  Exporter(Endpoint endpoint, std::string server_version, std::function<void(const std::string&)> log);
  // Closes.
  ~Exporter();
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  void add(Span span) noexcept;
  // Sends what it has, for a second at most. Drops later spans.
  void close();
  // The text for Prometheus.
  std::string metrics() const;

 private:
  struct State;
  const std::shared_ptr<State>
      state_;  // shared with the thread, which may wait longer for a name server than close() does
  std::thread thread_;
};

}  // namespace loopwright::serving::trace
