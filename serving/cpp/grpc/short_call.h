// Calls that are answered at once.
#pragma once

#include "grpc/events.h"
#include "grpc/shared.h"

namespace loopwright::serving::rpc {

// A call that is answered at once. It deletes itself after its answer; when it has come, another one waits for the next call.
template <class In, class Out>
class ShortCall {
 public:
  using Accept = void (Service::*)(grpc::ServerContext*, In*, grpc::ServerAsyncResponseWriter<Out>*,
                                   grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*);
  using Answer = void (*)(Shared& shared, const In& message, Out& response);

  // Waits for a call.
  static void accept(Shared& shared, grpc::ServerCompletionQueue& queue, Accept method, Answer answer) {
    new ShortCall(shared, queue, method, answer);
  }

 private:
  ShortCall(Shared& shared, grpc::ServerCompletionQueue& queue, Accept method, Answer answer)
      : shared_(shared), queue_(queue), method_(method), answer_(answer) {
    (shared.service.*method)(&context_, &message_, &responder_, &queue, &queue, &came_);
  }

  void come(bool ok) {
    if (!ok) {  // the server stops
      delete this;
      return;
    }
    accept(shared_, queue_, method_, answer_);
    Out response;
    grpc::Status status = grpc::Status::OK;
    try {
      answer_(shared_, message_, response);
    } catch (const Error& error) {
      status = status_of(error);
    } catch (const std::exception& error) {
      status = grpc::Status(grpc::StatusCode::INTERNAL, error.what());
    }
    if (status.ok()) {
      responder_.Finish(response, status, &finished_);
    } else {
      responder_.FinishWithError(status, &finished_);
    }
  }
  void finish(bool) { delete this; }

  Shared& shared_;
  grpc::ServerCompletionQueue& queue_;
  const Accept method_;
  const Answer answer_;
  grpc::ServerContext context_;
  In message_;
  grpc::ServerAsyncResponseWriter<Out> responder_{&context_};
  EventOf<ShortCall> came_{*this, &ShortCall::come}, finished_{*this, &ShortCall::finish};
};

}  // namespace loopwright::serving::rpc
