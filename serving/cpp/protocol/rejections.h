// How fast requests are rejected, for /metrics.
#pragma once

#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>
#include <vector>

#include "loopwright/serving/request.h"

namespace loopwright::serving {

// Times from when a request was read until its rejection was passed to its connection. Thread-safe.
class Rejections {
 public:
  enum Protocol { kHttp, kGrpc };

  Rejections();
  Rejections(const Rejections&) = delete;
  Rejections& operator=(const Rejections&) = delete;

  // Does nothing for kNone.
  void note(Protocol protocol, Rejection reason, Clock::duration time);
  // The text for Prometheus.
  std::string metrics() const;

 private:
  prometheus::Registry registry_;
  std::vector<prometheus::Histogram*> histograms_;  // by protocol and reason
};

}  // namespace loopwright::serving
