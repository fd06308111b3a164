#include "protocol/rejections.h"

#include <prometheus/text_serializer.h>

#include <chrono>
#include <iterator>

namespace loopwright::serving {
namespace {

using prometheus::Histogram;

// Fine from 10 us to 10 ms. Those of requests whose deadline passed in the queue include their wait.
const Histogram::BucketBoundaries kSecs{1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 0.1, 1, 10};

constexpr const char* kProtocols[] = {"http", "grpc"};
constexpr Rejection kReasons[] = {Rejection::kQueueFull, Rejection::kTooLate, Rejection::kExpired, Rejection::kNotReady,
                                  Rejection::kLimit};
constexpr size_t kCount = std::size(kReasons);

}  // namespace

// All series exist from the start, so that a rate counts the first rejection too, and a rejection finds its own without a lock.
Rejections::Rejections() {
  auto& family = prometheus::BuildHistogram()
                     .Name("loopwright_rejection_seconds")
                     .Help("Time from when a request was read until its rejection was passed to the connection")
                     .Register(registry_);
  for (const char* protocol : kProtocols)
    for (const Rejection reason : kReasons)
      histograms_.push_back(&family.Add({{"protocol", protocol}, {"reason", name(reason)}}, kSecs));
}

void Rejections::note(Protocol protocol, Rejection reason, Clock::duration time) {
  for (size_t i = 0; i < kCount; ++i)
    if (kReasons[i] == reason) histograms_[protocol * kCount + i]->Observe(std::chrono::duration<double>(time).count());
}

std::string Rejections::metrics() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

}  // namespace loopwright::serving
