#include "grpc/server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/grpcpp.h>
#include <pthread.h>

#include <algorithm>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "grpc/events.h"
#include "grpc/infer_call.h"
#include "grpc/infer_stream.h"
#include "grpc/messages.h"
#include "grpc/shared.h"
#include "grpc/short_call.h"
#include "protocol/extensions.h"

namespace loopwright::serving::rpc {

namespace {

constexpr int kHandshakeMillis = 10'000;
constexpr int kWaitingCalls = 16;  // that each queue can take at a time
constexpr unsigned kCoresOfAPoller = 4, kMostPollers = 8;

std::shared_ptr<grpc::ServerCredentials> credentials_of(const std::optional<tls::Certificate>& certificate) {
  if (!certificate) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({certificate->key, certificate->chain});
  return grpc::SslServerCredentials(options);  // TLS 1.2 and later
}

// A queue that no call uses must be empty before it is deleted.
void end_queue(grpc::ServerCompletionQueue& queue) {
  queue.Shutdown();
  void* event;
  bool ok;
  while (queue.Next(&event, &ok)) {
  }
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
        try {
          response.set_ready(all.engine.is_ready(request.name(), request.version()));
        } catch (const Error& error) {  // clients expect an answer, as Triton gives it, and no error
          if (error.kind() != ErrorKind::kNotFound) throw;
          response.set_ready(false);
        }
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
  accept_stream(shared, queue, streams);
  for (int i = 0; i < kWaitingCalls; ++i) accept_infer(shared, queue);
}

void poll(grpc::ServerCompletionQueue& queue) {
  pthread_setname_np(pthread_self(), "lw-grpc");
  void* event;
  bool ok;
  while (queue.Next(&event, &ok)) static_cast<Event*>(event)->happen(ok);
}

}  // namespace

struct Server::State {
  State(Engine& engine, SharedMemory& memory, Rejections& rejections, trace::Tracer* tracer, std::string version)
      : shared{engine, memory, rejections, tracer, std::move(version), {}, {}} {}

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

Server::Server(Engine& engine, SharedMemory& memory, Rejections& rejections, trace::Tracer* tracer,
               const std::string& address, uint16_t port, uint64_t most_bytes,
               const std::optional<tls::Certificate>& certificate, std::string version)
    : state_(std::make_unique<State>(engine, memory, rejections, tracer, std::move(version))) {
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
