// The stream of a connection: a socket, with TLS if the server has a certificate.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/system/error_code.hpp>
#include <optional>
#include <utility>

namespace loopwright::serving::http {

// An AsyncStream of Asio. With TLS, all operations must be started on the thread of the socket's context.
class Stream {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using executor_type = Socket::executor_type;

  // `tls` is null for a stream without TLS, and outlives this.
  Stream(Socket socket, boost::asio::ssl::context* tls) : socket_(std::move(socket)) {
    if (tls) tls_.emplace(socket_, *tls);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  bool is_plain() const { return !tls_; }
  Socket& socket() { return socket_; }
  executor_type get_executor() { return socket_.get_executor(); }

  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) return tls_->async_read_some(buffers, std::forward<Handler>(handler));
    socket_.async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) return tls_->async_write_some(buffers, std::forward<Handler>(handler));
    socket_.async_write_some(buffers, std::forward<Handler>(handler));
  }

  // Calls `next(error)` when the stream can be read and written: at once without TLS.
  template <class Next>
  void begin(Next next) {
    if (!tls_) return next(boost::system::error_code());
    tls_->async_handshake(boost::asio::ssl::stream_base::server, std::move(next));
  }
  // Ends what is sent, and calls `next()`: with TLS, when the other side has ended too, or has sent something else.
  template <class Next>
  void end(Next next) {
    if (!tls_) return end_socket(next);
    tls_->async_shutdown([this, next = std::move(next)](boost::system::error_code) { end_socket(next); });
  }

 private:
  template <class Next>
  void end_socket(const Next& next) {
    boost::system::error_code none;
    socket_.shutdown(Socket::shutdown_send, none);
    next();
  }

  Socket socket_;
  std::optional<boost::asio::ssl::stream<Socket&>> tls_;
};

}  // namespace loopwright::serving::http
