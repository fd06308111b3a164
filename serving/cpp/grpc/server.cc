#include "grpc/server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/grpcpp.h>

#include <pthread.h>
#include <atomic>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "grpc/events.h"
#include "grpc/messages.h"
#include "inference.grpc.pb.h"
#include "protocol/extensions.h"
#include "trace/tracer.h"

namespace loopwright::serving::rpc {
namespace {

using grpc::Status;
using grpc::StatusCode;

constexpr int kHandshakeMillis = 10'000;
constexpr int kWaitingCalls = 16;  // that each queue can take at a time
constexpr unsigned kCoresOfAPoller = 4, kMostPollers = 8;
constexpr size_t kMostMemory = size_t{1} << 30;  // of messages in flight

StatusCode code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return StatusCode::INVALID_ARGUMENT;
    case ErrorKind::kNotFound: return StatusCode::NOT_FOUND;
    case ErrorKind::kAlreadyExists: return StatusCode::ALREADY_EXISTS;
    case ErrorKind::kFailedPrecondition: return StatusCode::FAILED_PRECONDITION;
    case ErrorKind::kResourceExhausted: return StatusCode::RESOURCE_EXHAUSTED;
    case ErrorKind::kDeadlineExceeded: return StatusCode::DEADLINE_EXCEEDED;
    case ErrorKind::kCancelled: return StatusCode::CANCELLED;
    case ErrorKind::kPermissionDenied: return StatusCode::PERMISSION_DENIED;
    case ErrorKind::kUnavailable: return StatusCode::UNAVAILABLE;
    case ErrorKind::kUnimplemented: return StatusCode::UNIMPLEMENTED;
    case ErrorKind::kInternal: return StatusCode::INTERNAL;
  }
  return StatusCode::UNKNOWN;
}

Status status_of(const Error& error) { return Status(code_of(error.kind()), error.what()); }

std::shared_ptr<grpc::ServerCredentials> credentials_of(const std::optional<tls::Certificate>& certificate) {
  if (!certificate) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({certificate->key, certificate->chain});
  return grpc::SslServerCredentials(options);  // TLS 1.2 and later
}

using Service = inference::GRPCInferenceService::AsyncService;

// Counts the calls that the engine may still answer.
class Calls {
 public:
  void begin() {
    const std::lock_guard lock(mutex_);
    ++open_;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    if (--open_ == 0) ended_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return open_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  int open_ = 0;
};

// What all calls use.
struct Shared {
  Engine& engine;
  SharedMemory& memory;
  trace::Tracer* const tracer;  // null: nothing is traced
  const std::string version;
  Service service;
  Calls calls;
};

// A queue that no call uses must be empty before it is deleted.
void end_queue(grpc::ServerCompletionQueue& queue) {
  queue.Shutdown();
  void* event;
  bool ok;
  while (queue.Next(&event, &ok)) {
  }
}

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
    Status status = Status::OK;
    try {
      answer_(shared_, message_, response);
    } catch (const Error& error) {
      status = status_of(error);
    } catch (const std::exception& error) {
      status = Status(StatusCode::INTERNAL, error.what());
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

// The deadline of a call on the engine's clock, if it has one.
void take_deadline(const grpc::ServerContext& context, Request& request) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return;
  const auto left = deadline - std::chrono::system_clock::now();
  const auto mine = Clock::now() + std::chrono::duration_cast<Clock::duration>(left);
  request.deadline = request.deadline ? std::min(*request.deadline, mine) : mine;
}

// The traceparent of a call; empty if there is not exactly one.
std::string_view traceparent_of(const grpc::ServerContext& context) {
  const auto [begin, end] = context.client_metadata().equal_range("traceparent");
  if (begin == end || std::next(begin) != end) return {};
  return {begin->second.data(), begin->second.size()};
}

// Begins the span of a request, and passes its context on to the engine; null if it is not traced.
std::shared_ptr<trace::RequestSpan> begin_span(trace::Tracer& tracer, const char* method,
                                               std::string_view traceparent) {
  auto span = tracer.begin(method, traceparent);
  if (!span) return nullptr;
  const std::string_view name(method);
  const size_t slash = name.find('/');
  span->span().set("rpc.system", "grpc");
  span->span().set("rpc.service", name.substr(0, slash));
  span->span().set("rpc.method", name.substr(slash + 1));
  return span;
}

// Whether a status is the server's failure, not the client's.
bool is_failure(StatusCode code) {
  switch (code) {
    case StatusCode::UNKNOWN:
    case StatusCode::DEADLINE_EXCEEDED:
    case StatusCode::UNIMPLEMENTED:
    case StatusCode::INTERNAL:
    case StatusCode::UNAVAILABLE:
    case StatusCode::DATA_LOSS: return true;
    default: return false;
  }
}

void end_span(trace::RequestSpan& span, StatusCode code) {
  span.span().set("rpc.grpc.status_code", code);
  span.end(is_failure(code));
}

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
    accept(shared_, queue_);
    shared_.calls.begin();
    try {
      if (shared_.tracer)
        span_ = begin_span(*shared_.tracer, "inference.GRPCInferenceService/ModelInfer", traceparent_of(context_));
      ParsedRequest parsed = read_request(message_, self_, shared_.memory);
      take_deadline(context_, parsed.request);
      parsed.request.cancelled = cancelled_;
      if (span_) parsed.request.trace = span_->context();
      shared_.engine.infer(std::move(parsed.request), [this, ranges = std::move(parsed.ranges)](const Result& result) {
        if (span_) span_->note(result);
        if (result.error) return finish(status_of(*result.error));
        try {
          write_response(result.response, ranges, response_);
        } catch (const Error& error) {  // an output that does not fit its shared memory
          return finish(status_of(error));
        }
        finish(Status::OK);
      });
    } catch (const Error& error) {
      finish(status_of(error));
    } catch (const std::exception& error) {
      finish(Status(StatusCode::INTERNAL, error.what()));
    }
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
  grpc::ServerContext context_;
  inference::ModelInferRequest message_;
  inference::ModelInferResponse response_;
  grpc::ServerAsyncResponseWriter<inference::ModelInferResponse> responder_{&context_};
  EventOf<InferCall> came_{*this, &InferCall::come}, finished_{*this, &InferCall::note_finished},
      done_{*this, &InferCall::note_done};
  int left_ = 2;  // of the last two events, which come on one thread
  std::shared_ptr<InferCall> self_;
  std::shared_ptr<trace::RequestSpan> span_;  // null: it is not traced
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

class InferStream;

// The open streams of a server. A client may keep one open without requests, for which a server that stops must not wait.
class Streams {
 public:
  void add(InferStream& stream);
  void remove(InferStream& stream);
  bool is_draining() const { return draining_; }
  // Ends each stream when its accepted requests are answered.
  void drain();

 private:
  std::mutex mutex_;
  std::set<InferStream*> open_;
  std::atomic<bool> draining_{false};
};

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
  // More requests of a stream than this are not read before others are answered.
  static constexpr size_t kMostOpen = 256;

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
    message_ = std::make_shared<inference::ModelInferRequest>();
    ++events_;
    stream_.Read(message_.get(), &read_);
  }

  void note_read(bool ok) {
    take_message(ok);
    end_event();
  }

  void take_message(bool ok) {
    if (!ok) {
      const std::lock_guard lock(mutex_);
      reading_ended_ = true;
      finish_if_done();
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      if (finished_) return;
      ++open_;
    }
    const auto message = message_;
    std::shared_ptr<trace::RequestSpan> span;  // null: it is not traced
    try {
      if (shared_.tracer)
        span = begin_span(*shared_.tracer, "inference.GRPCInferenceService/ModelStreamInfer", traceparent_);
      ParsedRequest parsed = read_request(*message, message, shared_.memory);
      parsed.request.cancelled = cancelled_;
      if (span) parsed.request.trace = span->context();
      shared_.engine.infer(std::move(parsed.request),
                           [self = shared_from_this(), message, ranges = std::move(parsed.ranges),
                            span](const Result& result) { self->answer(result, ranges, span); });
    } catch (const Error& error) {
      answer({{message->model_name(), 0, message->id(), {}}, error}, {}, span);
    } catch (const std::exception& error) {
      answer({{message->model_name(), 0, message->id(), {}}, Error(ErrorKind::kInternal, error.what())}, {}, span);
    }
    {
      const std::lock_guard lock(mutex_);
      if (streams_.is_draining()) {  // the last request
        reading_ended_ = true;
        finish_if_done();
        return;
      }
      paused_ = open_ >= kMostOpen;
      if (paused_) return;
    }
    read_next();
  }

  void answer(const Result& result, const OutputRanges& ranges, const std::shared_ptr<trace::RequestSpan>& span) {
    inference::ModelStreamInferResponse response;
    StatusCode code = StatusCode::OK;
    try {
      if (result.error) throw Error(*result.error);
      write_response(result.response, ranges, *response.mutable_infer_response());
    } catch (const Error& error) {
      code = code_of(error.kind());
      response.Clear();
      response.set_error_message(error.what());
      response.mutable_infer_response()->set_id(result.response.id);
    }
    if (span) {
      span->note(result);
      end_span(*span, code);
    }
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(response));
    if (!writing_) write_next();
  }

  // With the mutex held.
  void write_next() {
    writing_ = true;
    ++events_;
    stream_.Write(waiting_.front(), &written_);
  }

  void note_written(bool) {
    bool resume;
    {
      const std::lock_guard lock(mutex_);
      waiting_.pop_front();
      writing_ = false;
      --open_;
      if (!waiting_.empty()) write_next();
      resume = paused_ && open_ < kMostOpen / 2 && !streams_.is_draining();
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
    stream_.Finish(draining ? Status(StatusCode::UNAVAILABLE, "the server is stopping") : Status::OK, &finished_event_);
  }

  void note_finished(bool) { end_event(); }
  // The client has the status, or has left.
  void note_done(bool) {
    if (context_.IsCancelled()) {
      cancelled_->store(true);
      const std::lock_guard lock(mutex_);
      reading_ended_ = true;
      finish_if_done();
    }
    end_event();
  }
  void end_event() {
    {
      const std::lock_guard lock(mutex_);
      if (--events_ > 0) return;
    }
    streams_.remove(*this);
    shared_.calls.end();
    self_.reset();
  }

  Shared& shared_;
  grpc::ServerCompletionQueue& queue_;
  Streams& streams_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<inference::ModelStreamInferResponse, inference::ModelInferRequest> stream_{&context_};
  EventOf<InferStream> came_{*this, &InferStream::come}, read_{*this, &InferStream::note_read},
      written_{*this, &InferStream::note_written}, finished_event_{*this, &InferStream::note_finished},
      done_{*this, &InferStream::note_done};
  std::string traceparent_;            // of the stream, and so of each request
  std::shared_ptr<InferStream> self_;  // until its last event
  std::shared_ptr<inference::ModelInferRequest> message_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  std::mutex mutex_;
  std::deque<inference::ModelStreamInferResponse> waiting_;
  int events_ = 1;   // that will come; the first is that it is done
  size_t open_ = 0;  // requests that were read and not answered
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

template <class In, class Out>
void accept_short(Shared& shared, grpc::ServerCompletionQueue& queue, typename ShortCall<In, Out>::Accept method,
                  void (*answer)(Shared&, const In&, Out&)) {
  ShortCall<In, Out>::accept(shared, queue, method, answer);
}

// Waits for calls of all methods.
void accept_all(Shared& shared, grpc::ServerCompletionQueue& queue, Streams& streams) {
  using namespace inference;
  accept_short(
      shared, queue, &Service::RequestServerLive,
      +[](Shared&, const ServerLiveRequest&, ServerLiveResponse& response) { response.set_live(true); });
  accept_short(
      shared, queue, &Service::RequestServerReady,
      +[](Shared& all, const ServerReadyRequest&, ServerReadyResponse& response) {
        response.set_ready(all.engine.is_ready());
      });
  accept_short(
      shared, queue, &Service::RequestModelReady,
      +[](Shared& all, const ModelReadyRequest& request, ModelReadyResponse& response) {
        response.set_ready(all.engine.is_ready(request.name(), request.version()));
      });
  accept_short(
      shared, queue, &Service::RequestServerMetadata,
      +[](Shared& all, const ServerMetadataRequest&, ServerMetadataResponse& response) {
        response.set_name("loopwright");
        response.set_version(all.version);
        for (const char* extension : extensions(all.memory.is_allowed())) response.add_extensions(extension);
      });
  accept_short(
      shared, queue, &Service::RequestModelMetadata,
      +[](Shared& all, const ModelMetadataRequest& request, ModelMetadataResponse& response) {
        write_metadata(all.engine.metadata(request.name(), request.version()), response);
      });
  accept_short(
      shared, queue, &Service::RequestModelConfig,
      +[](Shared& all, const ModelConfigRequest& request, ModelConfigResponse& response) {
        write_config(all.engine.metadata(request.name(), request.version()), *response.mutable_config());
      });
  accept_short(
      shared, queue, &Service::RequestModelStatistics,
      +[](Shared& all, const ModelStatisticsRequest& request, ModelStatisticsResponse& response) {
        for (const auto& each : all.engine.statistics(request.name(), request.version()))
          write_statistics(each, *response.add_model_stats());
      });
  accept_short(
      shared, queue, &Service::RequestRepositoryIndex,
      +[](Shared& all, const RepositoryIndexRequest& request, RepositoryIndexResponse& response) {
        write_index(all.engine.index(), request.ready(), response);
      });
  accept_short(
      shared, queue, &Service::RequestSystemSharedMemoryStatus,
      +[](Shared& all, const SystemSharedMemoryStatusRequest& request, SystemSharedMemoryStatusResponse& response) {
        write_regions(all.memory.regions(request.name()), response);
      });
  accept_short(
      shared, queue, &Service::RequestSystemSharedMemoryRegister,
      +[](Shared& all, const SystemSharedMemoryRegisterRequest& request, SystemSharedMemoryRegisterResponse&) {
        all.memory.add({request.name(), request.key(), request.offset(), request.byte_size()});
      });
  accept_short(
      shared, queue, &Service::RequestSystemSharedMemoryUnregister,
      +[](Shared& all, const SystemSharedMemoryUnregisterRequest& request, SystemSharedMemoryUnregisterResponse&) {
        all.memory.remove(request.name());
      });
  InferStream::accept(shared, queue, streams);
  for (int i = 0; i < kWaitingCalls; ++i) InferCall::accept(shared, queue);
}

void poll(grpc::ServerCompletionQueue& queue) {
  pthread_setname_np(pthread_self(), "lw-grpc");
  void* event;
  bool ok;
  while (queue.Next(&event, &ok)) static_cast<Event*>(event)->happen(ok);
}

}  // namespace

struct Server::State {
  State(Engine& engine, SharedMemory& memory, trace::Tracer* tracer, std::string version)
      : shared{engine, memory, tracer, std::move(version), {}, {}} {}

  struct Poller {
    std::unique_ptr<grpc::ServerCompletionQueue> queue;
    std::thread thread;
  };
  Shared shared;
  Streams streams;
  std::vector<Poller> pollers;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
};

Server::Server(Engine& engine, SharedMemory& memory, trace::Tracer* tracer, const std::string& address, uint16_t port,
               uint64_t most_bytes, const std::optional<tls::Certificate>& certificate, std::string version)
    : state_(std::make_unique<State>(engine, memory, tracer, std::move(version))) {
  google::protobuf::SetLogHandler(nullptr);  // it logs each message whose text is not UTF-8
  grpc::ServerBuilder builder;
  const std::string host = address.find(':') == std::string::npos ? address : "[" + address + "]";
  builder.AddListeningPort(host + ":" + std::to_string(port), credentials_of(certificate), &state_->port);
  builder.RegisterService(&state_->shared.service);
  builder.SetMaxReceiveMessageSize(static_cast<int>(std::min<uint64_t>(most_bytes, INT32_MAX)));
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMillis);
  grpc::ResourceQuota quota;
  quota.Resize(kMostMemory);
  builder.SetResourceQuota(quota);
  state_->pollers.resize(std::clamp(std::thread::hardware_concurrency() / kCoresOfAPoller, 1U, kMostPollers));
  for (State::Poller& poller : state_->pollers) poller.queue = builder.AddCompletionQueue();
  state_->server = builder.BuildAndStart();
  if (!state_->server || state_->port == 0) {
    for (State::Poller& poller : state_->pollers) end_queue(*poller.queue);
    throw Error(ErrorKind::kUnavailable,
                "cannot listen on " + address + ":" + std::to_string(port) + " for gRPC; choose another port");
  }
  for (State::Poller& poller : state_->pollers) {
    accept_all(state_->shared, *poller.queue, state_->streams);
    poller.thread = std::thread(poll, std::ref(*poller.queue));
  }
}

Server::~Server() {
  if (!state_->server) return;
  drain(std::chrono::milliseconds(0));
  state_->shared.calls.wait();  // they use the queues
  for (State::Poller& poller : state_->pollers) poller.queue->Shutdown();
  for (State::Poller& poller : state_->pollers) poller.thread.join();
}

int Server::port() const { return state_->port; }

bool Server::drain(std::chrono::milliseconds grace) {
  const auto end = std::chrono::system_clock::now() + grace;
  state_->streams.drain();
  state_->server->Shutdown(end);
  state_->server->Wait();
  return std::chrono::system_clock::now() < end;
}

}  // namespace loopwright::serving::rpc
