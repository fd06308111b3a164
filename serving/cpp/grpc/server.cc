#include "grpc/server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <set>

#include "grpc/messages.h"
#include "inference.grpc.pb.h"
#include "protocol/extensions.h"
#include "trace/tracer.h"

namespace loopwright::serving::rpc {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using grpc::Status;
using grpc::StatusCode;

constexpr int kHandshakeMillis = 10'000;
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

// Runs a call that answers at once.
template <class F>
ServerUnaryReactor* at_once(CallbackServerContext* context, const F& f) {
  ServerUnaryReactor* reactor = context->DefaultReactor();
  try {
    f();
    reactor->Finish(Status::OK);
  } catch (const Error& error) {
    reactor->Finish(status_of(error));
  } catch (const std::exception& error) {
    reactor->Finish(Status(StatusCode::INTERNAL, error.what()));
  }
  return reactor;
}

// The deadline of a call on the engine's clock, if it has one.
void take_deadline(const CallbackServerContext& context, Request& request) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return;
  const auto left = deadline - std::chrono::system_clock::now();
  const auto mine = Clock::now() + std::chrono::duration_cast<Clock::duration>(left);
  request.deadline = request.deadline ? std::min(*request.deadline, mine) : mine;
}

// The traceparent of a call; empty if there is not exactly one.
std::string_view traceparent_of(const CallbackServerContext& context) {
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

// One call of ModelInfer. gRPC frees the message after OnDone(), and nobody reads it after Finish().
class InferCall : public ServerUnaryReactor, public std::enable_shared_from_this<InferCall> {
 public:
  // Makes the call keep itself until OnDone().
  void start(Engine& engine, const SharedMemory& memory, trace::Tracer* tracer, CallbackServerContext& context,
             const inference::ModelInferRequest& message, inference::ModelInferResponse& response) {
    self_ = shared_from_this();
    try {
      if (tracer) span_ = begin_span(*tracer, "inference.GRPCInferenceService/ModelInfer", traceparent_of(context));
      ParsedRequest parsed = read_request(message, self_, memory);
      take_deadline(context, parsed.request);
      parsed.request.cancelled = cancelled_;
      if (span_) parsed.request.trace = span_->context();
      engine.infer(std::move(parsed.request),
                   [this, &response, ranges = std::move(parsed.ranges)](const Result& result) {
                     if (span_) span_->note(result);
                     if (result.error) return finish(status_of(*result.error));
                     try {
                       write_response(result.response, ranges, response);
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

 private:
  void finish(const Status& status) {
    if (span_) end_span(*span_, status.error_code());
    Finish(status);
  }
  void OnCancel() override { cancelled_->store(true); }
  void OnDone() override { self_.reset(); }

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
class InferStream : public grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>,
                    public std::enable_shared_from_this<InferStream> {
 public:
  InferStream(Engine& engine, const SharedMemory& memory, trace::Tracer* tracer, const CallbackServerContext& context,
              std::shared_ptr<Streams> streams)
      : engine_(engine), memory_(memory), tracer_(tracer), streams_(std::move(streams)) {
    if (tracer) traceparent_ = traceparent_of(context);
  }

  void start() {
    self_ = shared_from_this();
    streams_->add(*this);
    read_next();
    if (streams_->is_draining()) end_if_idle();
  }

  void end_if_idle() {
    const std::lock_guard lock(mutex_);
    finish_if_done();
  }

 private:
  // More requests of a stream than this are not read before others are answered.
  static constexpr size_t kMostOpen = 256;

  void read_next() {
    message_ = std::make_shared<inference::ModelInferRequest>();
    StartRead(message_.get());
  }

  void OnReadDone(bool ok) override {
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
      if (tracer_) span = begin_span(*tracer_, "inference.GRPCInferenceService/ModelStreamInfer", traceparent_);
      ParsedRequest parsed = read_request(*message, message, memory_);
      parsed.request.cancelled = cancelled_;
      if (span) parsed.request.trace = span->context();
      engine_.infer(std::move(parsed.request), [self = shared_from_this(), message, ranges = std::move(parsed.ranges),
                                                span](const Result& result) { self->answer(result, ranges, span); });
    } catch (const Error& error) {
      answer({{message->model_name(), 0, message->id(), {}}, error}, {}, span);
    } catch (const std::exception& error) {
      answer({{message->model_name(), 0, message->id(), {}}, Error(ErrorKind::kInternal, error.what())}, {}, span);
    }
    {
      const std::lock_guard lock(mutex_);
      if (streams_->is_draining()) {  // the last request
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
    StartWrite(&waiting_.front());
  }

  void OnWriteDone(bool) override {
    bool resume;
    {
      const std::lock_guard lock(mutex_);
      waiting_.pop_front();
      writing_ = false;
      --open_;
      if (!waiting_.empty()) write_next();
      resume = paused_ && open_ < kMostOpen / 2 && !streams_->is_draining();
      if (resume) paused_ = false;
      finish_if_done();
    }
    if (resume) read_next();
  }

  // With the mutex held.
  void finish_if_done() {
    const bool draining = streams_->is_draining();
    if (!(reading_ended_ || draining) || open_ > 0 || finished_) return;
    finished_ = true;
    // A request that the client sends now is not read: an error lets the client send it elsewhere.
    Finish(draining ? Status(StatusCode::UNAVAILABLE, "the server is stopping") : Status::OK);
  }

  void OnCancel() override { cancelled_->store(true); }
  void OnDone() override {
    streams_->remove(*this);
    self_.reset();
  }

  Engine& engine_;
  const SharedMemory& memory_;
  trace::Tracer* const tracer_;
  std::string traceparent_;  // of the stream, and so of each request
  const std::shared_ptr<Streams> streams_;
  std::shared_ptr<InferStream> self_;
  std::shared_ptr<inference::ModelInferRequest> message_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  std::mutex mutex_;
  std::deque<inference::ModelStreamInferResponse> waiting_;
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

}  // namespace

class Server::Service : public inference::GRPCInferenceService::CallbackService {
 public:
  Service(Engine& engine, SharedMemory& memory, trace::Tracer* tracer, std::string version)
      : engine_(engine), memory_(memory), tracer_(tracer), version_(std::move(version)) {}

  ServerUnaryReactor* ServerLive(CallbackServerContext* context, const inference::ServerLiveRequest*,
                                 inference::ServerLiveResponse* response) override {
    return at_once(context, [&] { response->set_live(true); });
  }
  ServerUnaryReactor* ServerReady(CallbackServerContext* context, const inference::ServerReadyRequest*,
                                  inference::ServerReadyResponse* response) override {
    return at_once(context, [&] { response->set_ready(engine_.is_ready()); });
  }
  ServerUnaryReactor* ModelReady(CallbackServerContext* context, const inference::ModelReadyRequest* request,
                                 inference::ModelReadyResponse* response) override {
    return at_once(context, [&] { response->set_ready(engine_.is_ready(request->name(), request->version())); });
  }
  ServerUnaryReactor* ServerMetadata(CallbackServerContext* context, const inference::ServerMetadataRequest*,
                                     inference::ServerMetadataResponse* response) override {
    return at_once(context, [&] {
      response->set_name("loopwright");
      response->set_version(version_);
      for (const char* extension : extensions(memory_.is_allowed())) response->add_extensions(extension);
    });
  }
  ServerUnaryReactor* ModelMetadata(CallbackServerContext* context, const inference::ModelMetadataRequest* request,
                                    inference::ModelMetadataResponse* response) override {
    return at_once(context, [&] { write_metadata(engine_.metadata(request->name(), request->version()), *response); });
  }
  ServerUnaryReactor* ModelConfig(CallbackServerContext* context, const inference::ModelConfigRequest* request,
                                  inference::ModelConfigResponse* response) override {
    return at_once(context, [&] {
      write_config(engine_.metadata(request->name(), request->version()), *response->mutable_config());
    });
  }
  ServerUnaryReactor* ModelStatistics(CallbackServerContext* context, const inference::ModelStatisticsRequest* request,
                                      inference::ModelStatisticsResponse* response) override {
    return at_once(context, [&] {
      for (const auto& each : engine_.statistics(request->name(), request->version()))
        write_statistics(each, *response->add_model_stats());
    });
  }
  ServerUnaryReactor* RepositoryIndex(CallbackServerContext* context, const inference::RepositoryIndexRequest* request,
                                      inference::RepositoryIndexResponse* response) override {
    return at_once(context, [&] {
      for (const IndexEntry& entry : engine_.index()) {
        if (request->ready() && entry.state != VersionState::kReady) continue;
        auto* made = response->add_models();
        made->set_name(entry.model);
        made->set_version(std::to_string(entry.version));
        made->set_state(name(entry.state));
        made->set_reason(entry.reason);
      }
    });
  }
  ServerUnaryReactor* SystemSharedMemoryStatus(CallbackServerContext* context,
                                               const inference::SystemSharedMemoryStatusRequest* request,
                                               inference::SystemSharedMemoryStatusResponse* response) override {
    return at_once(context, [&] { write_regions(memory_.regions(request->name()), *response); });
  }
  ServerUnaryReactor* SystemSharedMemoryRegister(CallbackServerContext* context,
                                                 const inference::SystemSharedMemoryRegisterRequest* request,
                                                 inference::SystemSharedMemoryRegisterResponse*) override {
    return at_once(context,
                   [&] { memory_.add({request->name(), request->key(), request->offset(), request->byte_size()}); });
  }
  ServerUnaryReactor* SystemSharedMemoryUnregister(CallbackServerContext* context,
                                                   const inference::SystemSharedMemoryUnregisterRequest* request,
                                                   inference::SystemSharedMemoryUnregisterResponse*) override {
    return at_once(context, [&] { memory_.remove(request->name()); });
  }
  ServerUnaryReactor* ModelInfer(CallbackServerContext* context, const inference::ModelInferRequest* request,
                                 inference::ModelInferResponse* response) override {
    const auto call = std::make_shared<InferCall>();
    call->start(engine_, memory_, tracer_, *context, *request, *response);
    return call.get();
  }
  grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>* ModelStreamInfer(
      CallbackServerContext* context) override {
    const auto stream = std::make_shared<InferStream>(engine_, memory_, tracer_, *context, streams_);
    stream->start();
    return stream.get();
  }

  void drain() { streams_->drain(); }

 private:
  Engine& engine_;
  SharedMemory& memory_;
  trace::Tracer* const tracer_;
  const std::string version_;
  const std::shared_ptr<Streams> streams_ = std::make_shared<Streams>();
};

struct Server::State {
  State(Engine& engine, SharedMemory& memory, trace::Tracer* tracer, std::string version)
      : service(engine, memory, tracer, std::move(version)) {}
  Service service;
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
  builder.RegisterService(&state_->service);
  builder.SetMaxReceiveMessageSize(static_cast<int>(std::min<uint64_t>(most_bytes, INT32_MAX)));
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMillis);
  grpc::ResourceQuota quota;
  quota.Resize(kMostMemory);
  builder.SetResourceQuota(quota);
  state_->server = builder.BuildAndStart();
  if (!state_->server || state_->port == 0)
    throw Error(ErrorKind::kUnavailable,
                "cannot listen on " + address + ":" + std::to_string(port) + " for gRPC; choose another port");
}

Server::~Server() { drain(std::chrono::milliseconds(0)); }

int Server::port() const { return state_->port; }

bool Server::drain(std::chrono::milliseconds grace) {
  if (!state_->server) return true;
  const auto end = std::chrono::system_clock::now() + grace;
  state_->service.drain();
  state_->server->Shutdown(end);
  state_->server->Wait();
  state_->server.reset();
  return std::chrono::system_clock::now() < end;
}

}  // namespace loopwright::serving::rpc
