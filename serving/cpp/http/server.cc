#include "http/server.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "http/stream.h"
#include "loopwright/serving/error.h"
#include "protocol/v2.h"

namespace loopwright::serving::http {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using net::ip::tcp;
using Clock = std::chrono::steady_clock;

// A request's first read takes what fits in here: small reads cost more than the kernels of a small model.
constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kPart = 1 << 20;
constexpr size_t kPadding = 64;  // at least simdjson::SIMDJSON_PADDING
// A timer per operation costs two system calls per request. So one timer looks at all connections from time to time.
constexpr std::chrono::milliseconds kSweep{250};
constexpr std::chrono::seconds kHandshake{10};
constexpr std::chrono::seconds kLinger{1};
constexpr std::chrono::milliseconds kLate{300};

std::string_view reason_of(int status) {
  const auto text = beast::http::obsolete_reason(static_cast<beast::http::status>(status));
  return {text.data(), text.size()};
}

bool equals(std::string_view a, std::string_view b) {
  return beast::iequals(beast::string_view(a.data(), a.size()), beast::string_view(b.data(), b.size()));
}

const boost::system::error_category& http_category() {
  return beast::http::make_error_code(beast::http::error::bad_value).category();
}

}  // namespace

std::string_view Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (equals(key, name)) return value;
  return {};
}

std::string_view Request::only_header(std::string_view name) const {
  const auto count =
      std::count_if(headers.begin(), headers.end(), [name](const auto& each) { return equals(each.first, name); });
  return count == 1 ? header(name) : std::string_view();
}

class Server::State : public std::enable_shared_from_this<Server::State> {
 public:
  State(Limits given, const std::optional<tls::Certificate>& certificate, Handler handler_, NoteRejection note)
      : limits(std::move(given)), handler(std::move(handler_)), note_rejection(std::move(note)) {
    if (certificate) tls.emplace(tls::server_context(*certificate));
  }

  void accept();
  void sweep();
  // Calls f for each connection.
  template <class F>
  void each(const F& f) {
    const std::lock_guard lock(mutex);
    for (Connection* connection : connections) f(*connection);
  }

  bool is_busy();

  const Limits limits;
  const Handler handler;
  const NoteRejection note_rejection;
  std::optional<net::ssl::context> tls;
  net::io_context context{1};
  tcp::acceptor acceptor{context};
  net::steady_timer timer{context};
  std::atomic<bool> draining{false};
  std::atomic<uint64_t> in_flight{0};  // bytes of bodies
  std::mutex mutex;
  std::set<Connection*> connections;
};

// Reads on the server's thread. Responses are written by the thread that has them, as far as the socket takes them at once:
// to wake the server's thread for them would take longer than a run of a small model. With TLS, the server's thread writes them.
class Server::Connection : public std::enable_shared_from_this<Server::Connection> {
 public:
  Connection(std::shared_ptr<State> state, tcp::socket socket)
      : state_(std::move(state)),
        stream_(std::move(socket), state_->tls ? &*state_->tls : nullptr),
        buffer_(state_->limits.header + kReadBytes) {
    buffer_.reserve(kReadBytes);
    error_code none;
    stream_.socket().set_option(tcp::no_delay(true), none);
    stream_.socket().non_blocking(true, none);
    const std::lock_guard lock(state_->mutex);
    state_->connections.insert(this);
  }
  ~Connection() {
    const std::lock_guard lock(state_->mutex);
    state_->connections.erase(this);
  }

  void start() {
    set_deadline(kHandshake);
    stream_.begin([self = shared_from_this()](error_code error) {
      if (error) return self->close();
      self->set_deadline(self->state_->limits.idle);
      self->read_header();
    });
  }

  bool is_busy() {
    const std::lock_guard lock(mutex_);
    return busy_ && stream_.socket().is_open();
  }
  // Of the server's thread.
  void end_if_idle() {
    const std::lock_guard lock(mutex_);
    if (!busy_) close_locked();
  }
  void end_if_late(Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    if (now > deadline_) close_locked();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    close_locked();
  }

 private:
  using Parser = beast::http::request_parser<beast::http::empty_body>;

  void close_locked() {
    if (cancelled_) cancelled_->store(true);
    error_code none;
    stream_.socket().close(none);
  }

  void set_deadline(Clock::duration time) {
    const std::lock_guard lock(mutex_);
    deadline_ = Clock::now() + time;
  }

  // Reads the next request. If it comes before the response to the last one, it waits.
  void read_header() {
    parser_.emplace();
    parser_->header_limit(state_->limits.header);
    parser_->body_limit(boost::none);  // the length is checked below
    beast::http::async_read_header(stream_, buffer_, *parser_,
                                   [self = shared_from_this()](error_code error, size_t) { self->on_header(error); });
  }

  void on_header(error_code error) {
    {
      const std::lock_guard lock(mutex_);
      if (is_ending_) return;
      if (busy_) {
        if (error) {
          // What follows a request may be no HTTP; but an end of the stream says that the client has left.
          const bool is_http = error.category() == http_category() && error != beast::http::error::end_of_stream;
          if (!is_http) cancelled_->store(true);
          keep_alive_ = false;
        } else {
          is_waiting_ = true;
        }
        return;
      }
    }
    if (error == beast::http::error::header_limit) {
      arrival_ = Clock::now();
      return fail(431, "the header is too long", Rejection::kLimit);
    }
    if (error) {
      const bool is_http = error.category() == http_category();
      if (is_http && error != beast::http::error::end_of_stream && error != beast::http::error::partial_message)
        return fail(400, "the request is not valid HTTP: " + error.message());
      return close();
    }
    begin_request();
  }

  void begin_request() {
    const auto& header = parser_->get();
    arrival_ = Clock::now();
    request_ = Request();
    request_.body = std::make_shared<std::string>();
    request_.method = std::string(header.method_string());
    request_.target = std::string(header.target());
    for (const auto& field : header)
      request_.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
    request_.cancelled = std::make_shared<std::atomic<bool>>(false);
    {
      const std::lock_guard lock(mutex_);
      busy_ = true;
      keep_alive_ = header.keep_alive();
      is_head_ = request_.method == "HEAD";
      is_1_0_ = header.version() == 10;
      cancelled_ = request_.cancelled;
      deadline_ = arrival_ + state_->limits.receive;
    }
    if (header.version() == 11 && request_.header("Host").empty())
      return fail(400, "a request must have the header Host");
    // Beast takes codings other than chunked for a request without a body, and so the body for the next request.
    if (header.count(beast::http::field::transfer_encoding) > 0)  // also one without a value
      return fail(411, "a request must have Content-Length; Transfer-Encoding is not accepted");
    if (!is_permitted()) return fail(401, "the header Authorization: Bearer TOKEN is missing or wrong");
    const uint64_t length = parser_->content_length().value_or(0);
    if (length > state_->limits.body)
      return fail(413,
                  "the body has " + std::to_string(length) + " bytes; at most " + std::to_string(state_->limits.body) +
                      " are accepted",
                  Rejection::kLimit);
    request_.body = std::shared_ptr<std::string>(new std::string, [state = state_](std::string* body) {
      state->in_flight.fetch_sub(body->size());
      delete body;
    });
    if (length == 0) return handle();
    request_.body->reserve(length + kPadding);
    const size_t here = std::min<uint64_t>(length, buffer_.size());
    state_->in_flight.fetch_add(here);
    request_.body->assign(static_cast<const char*>(buffer_.data().data()), here);
    buffer_.consume(here);
    if (here == length) return handle();
    const bool expects = header.version() == 11 && equals(request_.header("Expect"), "100-continue");
    if (!expects) return read_body(length);
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    net::async_write(stream_, net::buffer(kContinue), [self = shared_from_this(), length](error_code failed, size_t) {
      failed ? self->close() : self->read_body(length);
    });
  }

  // Whether the header has the server's token, if there is one. Takes the same time wherever the texts differ.
  bool is_permitted() const {
    const std::string& token = state_->limits.token;
    if (token.empty()) return true;
    constexpr std::string_view kBearer = "Bearer ";
    const std::string_view given = request_.header("Authorization");
    return given.size() == kBearer.size() + token.size() && given.substr(0, kBearer.size()) == kBearer &&
           CRYPTO_memcmp(given.data() + kBearer.size(), token.data(), token.size()) == 0;
  }

  // Reads straight into the body, past the parser. Memory is touched as far as bytes have come.
  void read_body(uint64_t length) {
    std::string& body = *request_.body;
    const size_t here = body.size(), part = std::min<uint64_t>(length - here, kPart);
    if (state_->in_flight.fetch_add(part) + part > state_->limits.in_flight) {
      state_->in_flight.fetch_sub(part);
      return fail(503,
                  "the requests that are being read and computed take all of the server's memory for them; try later",
                  Rejection::kLimit);
    }
    body.resize(here + part);
    net::async_read(stream_, net::buffer(body.data() + here, part),
                    [self = shared_from_this(), length](error_code error, size_t) {
                      if (error) return self->close();
                      self->arrival_ = Clock::now();
                      self->request_.body->size() == length ? self->handle() : self->read_body(length);
                    });
  }

  void handle() {
    {
      const std::lock_guard lock(mutex_);
      deadline_ = Clock::time_point::max();
    }
    state_->handler(std::move(request_),
                    [self = shared_from_this()](Response response) { self->respond(std::move(response)); });
    bool read;
    {
      const std::lock_guard lock(mutex_);
      read = keep_alive_ || busy_;
    }
    if (read) read_header();  // also to notice that the client leaves
  }

  // Called by any thread.
  void respond(Response response) {
    const Rejection rejection = response.rejection;
    const Clock::time_point arrival = arrival_;  // another request may come when this one is answered
    send(std::move(response));
    if (rejection != Rejection::kNone && state_->note_rejection)
      state_->note_rejection(rejection, Clock::now() - arrival);
  }

  void send(Response response) {
    std::unique_lock lock(mutex_);
    response_ = std::move(response);
    if (state_->draining) keep_alive_ = false;
    head_text_ = head_of(response_);
    pieces_.clear();
    pieces_.push_back(net::buffer(head_text_));
    if (!is_head_) {
      pieces_.push_back(net::buffer(response_.text));
      for (const Tensor& tensor : response_.binary) pieces_.push_back(net::buffer(tensor.data(), tensor.bytes()));
    }
    if (!stream_.socket().is_open()) return on_written(lock, false);
    if (stream_.is_plain() && send_now()) return on_written(lock, true);
    // The socket is full, or TLS encrypts: the server's thread goes on, which this one may be.
    deadline_ = Clock::now() + state_->limits.receive;
    net::dispatch(state_->context, [self = shared_from_this()] { self->write_rest(); });
  }

  std::string head_of(const Response& response) const {
    size_t bytes = response.text.size();
    for (const Tensor& tensor : response.binary) bytes += tensor.bytes();
    std::string text = "HTTP/1.1 " + std::to_string(response.status) + ' ';
    text += reason_of(response.status);
    if (response.status == 401) text += "\r\nWWW-Authenticate: Bearer";
    text += "\r\nContent-Type: " + response.type + "\r\nContent-Length: " + std::to_string(bytes) + "\r\n";
    for (const auto& [key, value] : response.headers) text += key + ": " + value + "\r\n";
    if (!keep_alive_) text += "Connection: close\r\n";
    if (keep_alive_ && is_1_0_)
      text += "Connection: keep-alive\r\n";  // which such a client has requested, and waits for
    return text + "\r\n";
  }

  // Sends what the socket takes, and removes it from the pieces. Returns whether nothing is left.
  bool send_now() {
    constexpr size_t kMost = 64;
    while (!pieces_.empty()) {
      iovec parts[kMost];
      const size_t count = std::min(pieces_.size(), kMost);
      for (size_t i = 0; i < count; ++i) parts[i] = {const_cast<void*>(pieces_[i].data()), pieces_[i].size()};
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = count;
      const ssize_t sent = sendmsg(stream_.socket().native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0) return false;  // full, or an error that the next write reports
      auto left = static_cast<size_t>(sent);
      while (!pieces_.empty() && left >= pieces_.front().size()) {
        left -= pieces_.front().size();
        pieces_.erase(pieces_.begin());
      }
      if (!pieces_.empty()) pieces_.front() += left;
    }
    return true;
  }

  void write_rest() {
    net::async_write(stream_, pieces_, [self = shared_from_this()](error_code error, size_t) {
      std::unique_lock lock(self->mutex_);
      self->on_written(lock, !error);
    });
  }

  // Called by any thread, with the mutex held.
  void on_written(std::unique_lock<std::mutex>& lock, bool whole) {
    busy_ = false;
    cancelled_.reset();
    response_ = Response();
    deadline_ = Clock::now() + state_->limits.idle;
    const bool next = std::exchange(is_waiting_, false), end = !whole || !keep_alive_;
    is_ending_ = end;
    lock.unlock();
    if (end || next)
      net::post(state_->context, [self = shared_from_this(), whole, end] {
        if (!whole) return self->close();
        end ? self->finish() : self->begin_request();
      });
  }

  // Closes after the client has read the response: closing at once would reset a connection that still sends.
  void finish() {
    set_deadline(kLinger);
    stream_.end([self = shared_from_this()] { self->linger(); });
  }

  // Reads past TLS: what comes is dropped.
  void linger() {
    rest_.resize(kReadBytes);
    stream_.socket().async_read_some(net::buffer(rest_), [self = shared_from_this()](error_code error, size_t) {
      error ? self->close() : self->linger();
    });
  }

  // Answers a request that cannot be read to its end.
  void fail(int status, const std::string& message, Rejection rejection = Rejection::kNone) {
    {
      const std::lock_guard lock(mutex_);
      busy_ = true;
      keep_alive_ = false;
      is_head_ = false;
    }
    Response response;
    response.status = status;
    response.text = v2::write_error(message);
    response.rejection = rejection;
    respond(std::move(response));
  }

  const std::shared_ptr<State> state_;
  Stream stream_;

  // Of the server's thread.
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  Request request_;
  Clock::time_point arrival_;  // when it was read, as far as it has come
  std::vector<char> rest_;

  std::mutex mutex_;  // for what follows
  Response response_;
  std::string head_text_;
  std::vector<net::const_buffer> pieces_;
  std::shared_ptr<std::atomic<bool>> cancelled_;
  Clock::time_point deadline_ = Clock::now() + state_->limits.idle;
  bool keep_alive_ = true, busy_ = false, is_head_ = false, is_1_0_ = false;
  bool is_ending_ = false;   // the last response has been written
  bool is_waiting_ = false;  // the next request's header has been read
};

bool Server::State::is_busy() {
  bool found = false;
  each([&found](Connection& connection) { found |= connection.is_busy(); });
  return found;
}

void Server::State::accept() {
  acceptor.async_accept([state = shared_from_this()](error_code error, tcp::socket socket) {
    if (!state->acceptor.is_open()) return;
    if (error) {  // such as too many open files: a pause instead of a busy loop
      auto pause = std::make_shared<net::steady_timer>(state->context, std::chrono::milliseconds(50));
      pause->async_wait([state, pause](error_code) {
        if (state->acceptor.is_open()) state->accept();
      });
      return;
    }
    size_t count;
    {
      const std::lock_guard lock(state->mutex);
      count = state->connections.size();
    }
    if (count < static_cast<size_t>(state->limits.connections))
      std::make_shared<Connection>(state, std::move(socket))->start();
    state->accept();
  });
}

void Server::State::sweep() {
  timer.expires_after(kSweep);
  timer.async_wait([state = shared_from_this()](error_code error) {
    if (error) return;
    const auto now = Clock::now();
    state->each([now](Connection& connection) { connection.end_if_late(now); });
    state->sweep();
  });
}

Server::Server(const std::string& address, uint16_t port, Limits limits,
               const std::optional<tls::Certificate>& certificate, Handler handler, NoteRejection note_rejection)
    : state_(std::make_shared<State>(std::move(limits), certificate, std::move(handler), std::move(note_rejection))) {
  const auto cannot = [&](const std::string& reason) {
    const bool is_v6 = address.find(':') != std::string::npos;
    return Error(ErrorKind::kUnavailable, "cannot listen on " + (is_v6 ? "[" + address + "]" : address) + ":" +
                                              std::to_string(port) + ": " + reason +
                                              "; choose another address or port");
  };
  error_code error;
  const net::ip::address numeric = net::ip::make_address(address, error);
  if (error) throw cannot("the address must be a number, such as 127.0.0.1");
  const tcp::endpoint endpoint(numeric, port);
  state_->acceptor.open(endpoint.protocol(), error);
  if (!error) state_->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) state_->acceptor.bind(endpoint, error);
  if (!error) state_->acceptor.listen(1024, error);
  if (error) throw cannot(error.message());
  state_->accept();
  state_->sweep();
  thread_ = std::thread([state = state_] {
    pthread_setname_np(pthread_self(), "lw-http");
    for (;;) try {  // a request that there is no memory for must not end the server
        state->context.run();
        break;
      } catch (const std::exception& raised) {
        std::fprintf(stderr, "http: %s\n", raised.what());
      }
  });
}

Server::~Server() {
  state_->context.stop();
  thread_.join();
  error_code none;
  state_->acceptor.close(none);
  state_->timer.cancel();
  state_->each([](Connection& connection) { connection.close(); });
  // Runs what was cancelled. Connections whose response a handler still owes live until then.
  state_->context.restart();
  state_->context.poll();
}

uint16_t Server::port() const { return state_->acceptor.local_endpoint().port(); }

void Server::begin_drain() { state_->draining = true; }

bool Server::drain(std::chrono::milliseconds grace) {
  state_->draining = true;
  const auto end = Clock::now() + grace;
  net::post(state_->context, [state = state_] {
    error_code none;
    state->acceptor.close(none);
  });
  // A client may have sent a request on an idle connection just now. Its response ends the connection.
  std::this_thread::sleep_for(std::min<Clock::duration>(grace, kLate));
  net::post(state_->context,
            [state = state_] { state->each([](Connection& connection) { connection.end_if_idle(); }); });
  // Requests that are being read count too.
  while (state_->is_busy() && Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return !state_->is_busy();
}

}  // namespace loopwright::serving::http
