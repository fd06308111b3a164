#include "grpc/infer_call.h"

#include <atomic>
#include <memory>

#include "grpc/events.h"
#include "grpc/messages.h"

namespace loopwright::serving::rpc {

namespace {

using grpc::Status;
using grpc::StatusCode;

// One call of ModelInfer. It keeps itself until it is finished and done; views of its message may keep it longer.
class InferCall : public std::enable_shared_from_this<InferCall> {
 public:
  // Waits for a call.
  static void accept(Shared& shared, grpc::ServerCompletionQueue& queue) {
    const auto call = std::make_shared<InferCall>(shared, queue);
    call->self_ = call;
    call->context_.AsyncNotifyWhenDone(&call->done_);
    shared.service.RequestModelInfer(&call->context_, &call->message_, &call->responder_, &queue, &queue, &call->came_);
  }

  InferCall(Shared& shared, grpc::ServerCompletionQueue& queue) : shared_(shared), queue_(queue) {}

 private:
  void come(bool ok) {
    if (!ok) {  // the server stops
      self_.reset();
      return;
    }
    arrival_ = Clock::now();
    accept(shared_, queue_);
    shared_.calls.begin();
    try {
      if (shared_.tracer)
        span_ = begin_span(*shared_.tracer, "inference.GRPCInferenceService/ModelInfer", traceparent_of(context_));
      share_ = shared_.budget.take(message_.ByteSizeLong());
      ParsedRequest parsed = read_request(message_, self_, shared_.memory);
      take_deadline(context_, parsed.request);
      parsed.request.cancelled = cancelled_;
      if (span_) parsed.request.trace = span_->context();
      shared_.engine.infer(std::move(parsed.request), [this, ranges = std::move(parsed.ranges)](const Result& result) {
        if (span_) span_->note(result);
        if (result.error) return fail(*result.error);
        try {
          write_response(result.response, ranges, response_);
        } catch (const std::exception& raised) {  // such as an output that does not fit its shared memory
          return fail(error_of(raised));
        }
        finish(Status::OK);
      });
    } catch (const std::exception& raised) {
      fail(error_of(raised));
    }
  }

  void fail(const Error& error) {
    // The call may end as soon as it is finished.
    Rejections& rejections = shared_.rejections;
    const Clock::time_point arrival = arrival_;
    finish(status_of(error));
    rejections.note(Rejections::kGrpc, error.rejection(), Clock::now() - arrival);
  }
  void finish(const Status& status) {
    if (span_) end_span(*span_, status.error_code());
    if (status.ok()) {
      responder_.Finish(response_, status, &finished_);
    } else {
      responder_.FinishWithError(status, &finished_);
    }
  }
  void note_finished(bool) { end_one(); }
  // The client has the answer, or has left.
  void note_done(bool) {
    if (context_.IsCancelled()) cancelled_->store(true);
    end_one();
  }
  void end_one() {
    if (--left_ > 0) return;
    shared_.calls.end();
    self_.reset();
  }

  Shared& shared_;
  grpc::ServerCompletionQueue& queue_;
  Clock::time_point arrival_;
  grpc::ServerContext context_;
  inference::ModelInferRequest message_;
  Budget::Share share_;  // of the message
  inference::ModelInferResponse response_;
  grpc::ServerAsyncResponseWriter<inference::ModelInferResponse> responder_{&context_};
  EventOf<InferCall> came_{*this, &InferCall::come}, finished_{*this, &InferCall::note_finished},
      done_{*this, &InferCall::note_done};
  int left_ = 2;  // of the last two events, which come on one thread
  std::shared_ptr<InferCall> self_;
  std::shared_ptr<trace::RequestSpan> span_;  // null: it is not traced
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace

void accept_infer(Shared& shared, grpc::ServerCompletionQueue& queue) { InferCall::accept(shared, queue); }

}  // namespace loopwright::serving::rpc
