// An HTTP/1.1 server: reads requests within limits, and writes responses that a handler gives at any time, from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "loopwright/serving/error.h"
#include "loopwright/serving/tensor.h"
#include "tls/certificate.h"

namespace loopwright::serving::http {

struct Limits {
  uint64_t body = uint64_t{64} << 20;
  uint64_t in_flight = uint64_t{1} << 30;  // bytes of all bodies that are being read and computed
  uint32_t header = 16 << 10;
  int connections = 4096;
  std::chrono::seconds idle{300};    // between two requests of a connection
  std::string token;                 // that the header Authorization: Bearer must have; empty: none
  std::chrono::seconds receive{60};  // for the rest of a request that has begun, and for a response to be taken
};

struct Request {
  std::string method;
  std::string target;                 // path and query, as they came
  std::shared_ptr<std::string> body;  // has simdjson::SIMDJSON_PADDING bytes of capacity behind its end
  std::vector<std::pair<std::string, std::string>> headers;
  // Set when the client closes its connection before the response.
  std::shared_ptr<std::atomic<bool>> cancelled;

  // Returns the value of a header, or an empty text. Names are compared without case.
  std::string_view header(std::string_view name) const;
  // As header(), but an empty text too if there are several.
  std::string_view only_header(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string text;
  std::vector<Tensor> binary;  // behind the text
  Rejection rejection = Rejection::kNone;
};

using Respond = std::function<void(Response)>;
// Called on the server's thread; must not block. `respond` is called once, by any thread, also before the handler returns.
using Handler = std::function<void(Request, Respond)>;
// Gets the reason of a rejection, and the time from when its request was read until its response was sent, or waits for the socket.
// Called by any thread.
using NoteRejection = std::function<void(Rejection, std::chrono::nanoseconds)>;

class Server {
 public:
  // Listens, for HTTPS if there is a certificate. Port 0 takes a free one. Throws Error (kUnavailable) with the reason, such as a
  // port that is in use. `note_rejection` may be empty.
  Server(const std::string& address, uint16_t port, Limits limits, const std::optional<tls::Certificate>& certificate,
         Handler handler, NoteRejection note_rejection = {});
  // Ends all connections.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  // Ends each connection with its next response.
  void begin_drain();
  // Takes no more connections, and ends idle ones. Returns whether all responses were written within `grace`.
  bool drain(std::chrono::milliseconds grace);

 private:
  class State;
  class Connection;
  std::shared_ptr<State> state_;  // shared with connections
  std::thread thread_;
};

}  // namespace loopwright::serving::http
