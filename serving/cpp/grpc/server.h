// The protocol over gRPC.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "loopwright/serving/engine.h"
#include "protocol/rejections.h"
#include "protocol/shared_memory.h"
#include "tls/certificate.h"

namespace loopwright::serving::trace {
class Tracer;
}

namespace loopwright::serving::rpc {

class Server {
 public:
  // Listens, with TLS if there is a certificate. Port 0 takes a free one. Throws Error (kUnavailable) if the port cannot be used. A
  // message of more than `most_bytes` is rejected. Without a tracer (null), nothing is traced.
  Server(Engine& engine, SharedMemory& memory, Rejections& rejections, trace::Tracer* tracer,
         const std::string& address, uint16_t port, uint64_t most_bytes,
         const std::optional<tls::Certificate>& certificate, std::string version);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  // Takes no more calls, and waits for those that were accepted; after `grace` they are cancelled. Clients get GOAWAY. Returns
  // whether none was cancelled.
  bool drain(std::chrono::milliseconds grace);

 private:
  class Service;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace loopwright::serving::rpc
