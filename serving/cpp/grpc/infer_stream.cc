#include "grpc/infer_stream.h"

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "grpc/events.h"
#include "grpc/messages.h"

namespace loopwright::serving::rpc {

using grpc::Status;
using grpc::StatusCode;

// Each request has one response. Clients of streams wait for the one with this parameter.
constexpr char kFinalResponse[] = "triton_final_response";

// A stream of requests. Responses come in the order in which they are ready, as in Triton; their ids distinguish them.
class InferStream : public std::enable_shared_from_this<InferStream> {
 public:
  // Waits for a stream.
  static void accept(Shared& shared, grpc::ServerCompletionQueue& queue, Streams& streams) {
    const auto stream = std::make_shared<InferStream>(shared, queue, streams);
    stream->self_ = stream;
    stream->context_.AsyncNotifyWhenDone(&stream->done_);
    shared.service.RequestModelStreamInfer(&stream->context_, &stream->stream_, &queue, &queue, &stream->came_);
  }

  InferStream(Shared& shared, grpc::ServerCompletionQueue& queue, Streams& streams)
      : shared_(shared), queue_(queue), streams_(streams) {}

  void end_if_idle() {
    const std::lock_guard lock(mutex_);
    finish_if_done();
  }

 private:
  // Requests and bytes of a stream above which no others are read before some are answered.
  static constexpr size_t kMostOpen = 256, kMostBytes = size_t{64} << 20;

  // A request, with the bytes that it takes.
  struct Message {
    inference::ModelInferRequest request;
    Budget::Share share;
  };
  // A response that is not sent yet.
  struct Waiting {
    grpc::ByteBuffer bytes;
    Budget::Share share;
  };

  void come(bool ok) {
    if (!ok) {  // the server stops
      self_.reset();
      return;
    }
    accept(shared_, queue_, streams_);
    shared_.calls.begin();
    if (shared_.tracer) traceparent_ = traceparent_of(context_);
    streams_.add(*this);
    read_next();
    if (streams_.is_draining()) end_if_idle();
  }

  void read_next() {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    ++events_;
    stream_.Read(&bytes_, &read_);
  }

  void note_read(bool ok) {
    take_message(ok);
    end_event();
  }

  void take_message(bool ok) {
    if (!ok) {
      end_reading(Status::OK);
      return;
    }
    const Clock::time_point arrival = Clock::now();
    const size_t size = bytes_.Length();
    const auto message = std::make_shared<Message>();
    auto& request = message->request;
    if (!grpc::SerializationTraits<inference::ModelInferRequest>::Deserialize(&bytes_, &request).ok()) {
      end_reading({StatusCode::INVALID_ARGUMENT, "a message of the stream is not a ModelInferRequest"});
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      if (finished_) return;
      ++open_;
      open_bytes_ += size;
    }
    std::shared_ptr<trace::RequestSpan> span;  // null: it is not traced
    try {
      if (shared_.tracer)
        span = begin_span(*shared_.tracer, "inference.GRPCInferenceService/ModelStreamInfer", traceparent_);
      message->share = shared_.budget.take(size);
      ParsedRequest parsed = read_request(request, message, shared_.memory);
      parsed.request.cancelled = cancelled_;
      if (span) parsed.request.trace = span->context();
      shared_.engine.infer(std::move(parsed.request),
                           [self = shared_from_this(), arrival, size, ranges = std::move(parsed.ranges),
                            span](const Result& result) { self->answer(result, arrival, size, ranges, span); });
    } catch (const std::exception& raised) {
      answer({{request.model_name(), 0, request.id(), {}}, error_of(raised)}, arrival, size, {}, span);
    }
    {
      const std::lock_guard lock(mutex_);
      if (streams_.is_draining()) {  // the last request
        reading_ended_ = true;
        finish_if_done();
        return;
      }
      paused_ = open_ >= kMostOpen || open_bytes_ >= kMostBytes;
      if (paused_) return;
    }
    read_next();
  }

  // Requests that were read are answered before the stream ends with a status.
  void end_reading(const Status& status) {
    const std::lock_guard lock(mutex_);
    reading_ended_ = true;
    status_ = status;
    finish_if_done();
  }

  // `size`: of the request, in bytes.
  void answer(const Result& result, Clock::time_point arrival, size_t size, const OutputRanges& ranges,
              const std::shared_ptr<trace::RequestSpan>& span) {
    Waiting response;
    std::optional<Error> error = result.error;
    if (!error) try {
        response = response_of(result.response, ranges);
      } catch (const std::exception& raised) {  // such as an output that does not fit its shared memory
        error = error_of(raised);
      }
    if (error) response = response_of(*error, result.response.id);
    if (span) {
      span->note(result);
      end_span(*span, error ? code_of(error->kind()) : StatusCode::OK);
    }
    const std::lock_guard lock(mutex_);
    open_bytes_ += response.share.bytes();
    open_bytes_ -= size;
    waiting_.push_back(std::move(response));
    if (!writing_) write_next();
    shared_.rejections.note(Rejections::kGrpc, error ? error->rejection() : Rejection::kNone, Clock::now() - arrival);
  }

  Waiting response_of(const Response& response, const OutputRanges& ranges) const {
    inference::ModelStreamInferResponse message;
    auto& written = *message.mutable_infer_response();
    write_response(response, ranges, written);
    (*written.mutable_parameters())[kFinalResponse].set_bool_param(true);
    Budget::Share share = shared_.budget.take(message.ByteSizeLong());
    return {serialized(message), std::move(share)};
  }
  static Waiting response_of(const Error& error, const std::string& id) {
    inference::ModelStreamInferResponse message;
    message.set_error_message(error.what());
    message.mutable_infer_response()->set_id(id);
    return {serialized(message), {}};
  }
  static grpc::ByteBuffer serialized(const inference::ModelStreamInferResponse& message) {
    grpc::ByteBuffer bytes;
    bool owned;
    // Cannot fail: write_response() has checked the size.
    grpc::SerializationTraits<inference::ModelStreamInferResponse>::Serialize(message, &bytes, &owned);
    return bytes;
  }

  // With the mutex held.
  void write_next() {
    writing_ = true;
    ++events_;
    stream_.Write(waiting_.front().bytes, &written_);
  }

  void note_written(bool) {
    bool resume;
    {
      const std::lock_guard lock(mutex_);
      open_bytes_ -= waiting_.front().share.bytes();
      waiting_.pop_front();
      writing_ = false;
      --open_;
      if (!waiting_.empty()) write_next();
      resume = paused_ && open_ < kMostOpen / 2 && open_bytes_ < kMostBytes / 2 && !streams_.is_draining();
      if (resume) paused_ = false;
      finish_if_done();
    }
    if (resume) read_next();
    end_event();
  }

  // With the mutex held.
  void finish_if_done() {
    const bool draining = streams_.is_draining();
    if (!(reading_ended_ || draining) || open_ > 0 || finished_) return;
    finished_ = true;
    // A request that the client sends now is not read: an error lets the client send it elsewhere.
    ++events_;
    stream_.Finish(draining ? Status(StatusCode::UNAVAILABLE, "the server is stopping") : status_, &finished_event_);
  }

  void note_finished(bool) { end_event(); }
  // The client has the status, or has left.
  void note_done(bool) {
    if (context_.IsCancelled()) {
      cancelled_->store(true);
      end_reading(Status::CANCELLED);
    }
    end_event();
  }
  void end_event() {
    {
      const std::lock_guard lock(mutex_);
      if (--events_ > 0 || open_ > 0) return;  // a request that is computed will be an event
    }
    streams_.remove(*this);
    shared_.calls.end();
    self_.reset();
  }

  Shared& shared_;
  grpc::ServerCompletionQueue& queue_;
  Streams& streams_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_{&context_};
  EventOf<InferStream> came_{*this, &InferStream::come}, read_{*this, &InferStream::note_read},
      written_{*this, &InferStream::note_written}, finished_event_{*this, &InferStream::note_finished},
      done_{*this, &InferStream::note_done};
  std::string traceparent_;            // of the stream, and so of each request
  std::shared_ptr<InferStream> self_;  // until its last event
  grpc::ByteBuffer bytes_;             // of the message that is read
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  std::mutex mutex_;
  std::deque<Waiting> waiting_;
  Status status_;          // with which the stream ends
  int events_ = 1;         // that will come; the first is that it is done
  size_t open_ = 0;        // requests that were read and not answered
  size_t open_bytes_ = 0;  // of them, and of responses that are not sent
  bool writing_ = false, reading_ended_ = false, finished_ = false, paused_ = false;
};

void Streams::add(InferStream& stream) {
  const std::lock_guard lock(mutex_);
  open_.insert(&stream);
}

void Streams::remove(InferStream& stream) {
  const std::lock_guard lock(mutex_);
  open_.erase(&stream);
}

void Streams::drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
  for (InferStream* stream : open_) stream->end_if_idle();
}

void accept_stream(Shared& shared, grpc::ServerCompletionQueue& queue, Streams& streams) {
  InferStream::accept(shared, queue, streams);
}

}  // namespace loopwright::serving::rpc
