#include "http/server.h"

#include <pthread.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "protocol/v2.h"

namespace loopwright::serving::http {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using net::ip::tcp;

// A request's first read takes what fits in here: small reads cost more than the kernels of a small model.
constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kPadding = 64;  // at least simdjson::SIMDJSON_PADDING

std::string_view reason_of(int status) {
  const auto text = beast::http::obsolete_reason(static_cast<beast::http::status>(status));
  return {text.data(), text.size()};
}

bool equals(std::string_view a, std::string_view b) {
  return beast::iequals(beast::string_view(a.data(), a.size()), beast::string_view(b.data(), b.size()));
}

}  // namespace

std::string_view Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (equals(key, name)) return value;
  return {};
}

class Server::State {
 public:
  State(Limits given, Handler handler_) : limits(given), handler(std::move(handler_)) {}

  const Limits limits;
  const Handler handler;
  net::io_context context{1};
  tcp::acceptor acceptor{context};
  std::thread thread;
  std::atomic<bool> draining{false};
  // Of the server's thread.
  std::set<Connection*> connections;
  // Requests that were read and not answered.
  std::atomic<int> open{0};

  void accept();
};

class Server::Connection : public std::enable_shared_from_this<Server::Connection> {
 public:
  Connection(State& state, tcp::socket socket)
      : state_(state), stream_(std::move(socket)), buffer_(state.limits.header + kReadBytes) {
    buffer_.reserve(kReadBytes);
    error_code none;
    stream_.socket().set_option(tcp::no_delay(true), none);
    state_.connections.insert(this);
  }
  ~Connection() { state_.connections.erase(this); }

  void start() { read_header(state_.limits.idle); }

  // Ends the connection unless it is computing a response.
  void end_if_idle() {
    if (!busy_) close();
  }
  void close() {
    error_code none;
    stream_.socket().close(none);
  }

 private:
  using Parser = beast::http::request_parser<beast::http::empty_body>;

  void read_header(std::chrono::seconds patience) {
    parser_.emplace();
    parser_->header_limit(state_.limits.header);
    parser_->body_limit(boost::none);  // the length is checked below
    stream_.expires_after(patience);
    beast::http::async_read_header(stream_, buffer_, *parser_,
                                   [self = shared_from_this()](error_code error, size_t) { self->on_header(error); });
  }

  void on_header(error_code error) {
    if (error == beast::http::error::header_limit) return fail(431, "the header is too long");
    if (error == beast::http::error::end_of_stream || error == net::error::operation_aborted ||
        error == beast::error::timeout)
      return close();
    if (error) {
      if (error.category() == beast::http::make_error_code(beast::http::error::bad_value).category())
        return fail(400, "the request is not valid HTTP: " + error.message());
      return close();
    }
    busy_ = true;
    const auto& header = parser_->get();
    request_ = Request();
    request_.method = std::string(header.method_string());
    request_.target = std::string(header.target());
    for (const auto& field : header)
      request_.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
    keep_alive_ = header.keep_alive();
    request_.body = std::make_shared<std::string>();
    stream_.expires_after(state_.limits.receive);
    const bool must_continue = equals(request_.header("Expect"), "100-continue");
    if (parser_->chunked()) return fail(411, "a request must have Content-Length; chunked bodies are not accepted");
    const uint64_t length = parser_->content_length().value_or(0);
    if (length > state_.limits.body)
      return fail(413, "the body has " + std::to_string(length) + " bytes; at most " +
                           std::to_string(state_.limits.body) + " are accepted");
    if (length == 0) return handle();
    request_.body->reserve(length + kPadding);
    if (!must_continue) return read_body(length);
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    net::async_write(stream_, net::buffer(kContinue), [self = shared_from_this(), length](error_code failed, size_t) {
      failed ? self->close() : self->read_body(length);
    });
  }

  // Reads straight into the body, past the parser.
  void read_body(uint64_t length) {
    std::string& body = *request_.body;
    const size_t here = std::min<uint64_t>(length, buffer_.size());
    body.assign(static_cast<const char*>(buffer_.data().data()), here);
    buffer_.consume(here);
    if (here == length) return handle();
    body.resize(length);
    net::async_read(stream_, net::buffer(body.data() + here, length - here),
                    [self = shared_from_this()](error_code error, size_t) { error ? self->close() : self->handle(); });
  }

  void handle() {
    stream_.expires_never();
    state_.open.fetch_add(1);
    request_.cancelled = std::make_shared<std::atomic<bool>>(false);
    cancelled_ = request_.cancelled;
    head_ = request_.method == "HEAD";
    responding_ = false;
    watch();
    state_.handler(std::move(request_), [self = shared_from_this()](Response response) {
      if (self->state_.context.get_executor().running_in_this_thread()) return self->respond(std::move(response));
      net::post(self->state_.context,
                [self, response = std::move(response)]() mutable { self->respond(std::move(response)); });
    });
  }

  // Notices that the client leaves while a response is computed.
  void watch() {
    stream_.socket().async_wait(tcp::socket::wait_read, [weak = weak_from_this(), flag = cancelled_](error_code error) {
      const auto self = weak.lock();
      if (!self || error || self->responding_ || self->cancelled_ != flag) return;
      char byte;
      error_code failed;
      self->stream_.socket().non_blocking(true, failed);
      const size_t count = self->stream_.socket().receive(net::buffer(&byte, 1), tcp::socket::message_peek, failed);
      if ((failed && failed != net::error::would_block) || (!failed && count == 0)) flag->store(true);
    });
  }

  void respond(Response response) {
    responding_ = true;
    if (state_.draining) keep_alive_ = false;
    response_ = std::move(response);
    size_t bytes = response_.text.size();
    for (const Tensor& tensor : response_.binary) bytes += tensor.bytes();
    head_text_ = "HTTP/1.1 " + std::to_string(response_.status) + ' ';
    head_text_ += reason_of(response_.status);
    head_text_ += "\r\nContent-Type: " + response_.type + "\r\nContent-Length: " + std::to_string(bytes) + "\r\n";
    for (const auto& [key, value] : response_.headers) head_text_ += key + ": " + value + "\r\n";
    head_text_ += keep_alive_ ? "\r\n" : "Connection: close\r\n\r\n";
    std::vector<net::const_buffer> pieces{net::buffer(head_text_)};
    if (!head_) {
      pieces.push_back(net::buffer(response_.text));
      for (const Tensor& tensor : response_.binary) pieces.push_back(net::buffer(tensor.data(), tensor.bytes()));
    }
    stream_.expires_after(state_.limits.receive);
    net::async_write(stream_, pieces,
                     [self = shared_from_this()](error_code error, size_t) { self->on_written(error); });
  }

  void on_written(error_code error) {
    state_.open.fetch_sub(1);
    busy_ = false;
    response_ = Response();
    if (error) return close();
    if (keep_alive_) return read_header(state_.limits.idle);
    finish();
  }

  // Closes after the client has read the response: closing at once would reset a connection that still sends.
  void finish() {
    error_code none;
    stream_.socket().shutdown(tcp::socket::shutdown_send, none);
    stream_.expires_after(std::chrono::seconds(1));
    linger();
  }

  void linger() {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(kReadBytes), [self = shared_from_this()](error_code error, size_t) {
      error ? self->close() : self->linger();
    });
  }

  // Answers a request that cannot be read to its end.
  void fail(int status, const std::string& message) {
    state_.open.fetch_add(1);
    busy_ = true;
    keep_alive_ = false;
    head_ = false;
    Response response;
    response.status = status;
    response.text = v2::write_error(message);
    respond(std::move(response));
  }

  State& state_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  Request request_;
  Response response_;
  std::string head_text_;
  std::shared_ptr<std::atomic<bool>> cancelled_;
  bool keep_alive_ = true, busy_ = false, head_ = false, responding_ = false;
};

void Server::State::accept() {
  acceptor.async_accept([this](error_code error, tcp::socket socket) {
    if (!acceptor.is_open()) return;
    if (error) {  // such as too many open files: a pause instead of a busy loop
      auto timer = std::make_shared<net::steady_timer>(context, std::chrono::milliseconds(50));
      timer->async_wait([this, timer](error_code) {
        if (acceptor.is_open()) accept();
      });
      return;
    }
    if (static_cast<int>(connections.size()) < limits.connections)
      std::make_shared<Connection>(*this, std::move(socket))->start();
    accept();
  });
}

Server::Server(const std::string& address, uint16_t port, Limits limits, Handler handler)
    : state_(std::make_unique<State>(limits, std::move(handler))) {
  const tcp::endpoint endpoint(net::ip::make_address(address), port);
  state_->acceptor.open(endpoint.protocol());
  state_->acceptor.set_option(tcp::acceptor::reuse_address(true));
  state_->acceptor.bind(endpoint);
  state_->acceptor.listen(1024);
  state_->accept();
  state_->thread = std::thread([state = state_.get()] {
    pthread_setname_np(pthread_self(), "lw-http");
    state->context.run();
  });
}

Server::~Server() {
  net::post(state_->context, [state = state_.get()] {
    error_code none;
    state->acceptor.close(none);
    state->context.stop();
  });
  state_->thread.join();
  state_->context.restart();
  // Connections that handlers still refer to go with the handlers.
  for (Connection* connection : std::vector<Connection*>(state_->connections.begin(), state_->connections.end()))
    connection->close();
  state_->context.poll();
}

uint16_t Server::port() const { return state_->acceptor.local_endpoint().port(); }

void Server::begin_drain() { state_->draining = true; }

bool Server::drain(std::chrono::milliseconds grace) {
  state_->draining = true;
  net::post(state_->context, [state = state_.get()] {
    error_code none;
    state->acceptor.close(none);
    for (Connection* connection : std::vector<Connection*>(state->connections.begin(), state->connections.end()))
      connection->end_if_idle();
  });
  const auto end = std::chrono::steady_clock::now() + grace;
  while (state_->open > 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return state_->open == 0;
}

}  // namespace loopwright::serving::http
