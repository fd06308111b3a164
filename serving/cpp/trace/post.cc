#include "trace/post.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <charconv>
#include <string_view>

#include "loopwright/serving/error.h"

namespace loopwright::serving::trace {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

constexpr std::string_view kScheme = "http://";
constexpr uint64_t kMostAnswer = 1 << 20;  // bytes

}  // namespace

Endpoint parse_endpoint(const std::string& url) {
  const auto wrong = [&url] {
    return invalid("--trace-endpoint must be http://HOST:PORT[/PATH] of a collector that takes OTLP over HTTP, got '" +
                   url + "'");
  };
  std::string_view rest(url);
  if (rest.substr(0, kScheme.size()) != kScheme) throw wrong();
  for (const char c : rest)
    if (c <= ' ' || c > '~') throw wrong();
  rest.remove_prefix(kScheme.size());
  const std::string_view address = rest.substr(0, rest.find('/'));
  const std::string_view path = rest.substr(address.size());
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) throw wrong();
  std::string_view host = address.substr(0, colon);
  const std::string_view port = address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number == 0) throw wrong();
  return {std::string(host), std::string(port), path.size() > 1 ? std::string(path) : "/v1/traces"};
}

int post(const Endpoint& endpoint, std::string json, std::chrono::milliseconds time) {
  net::io_context context;
  beast::tcp_stream stream(context);
  error_code failed;
  // Waits for an operation, because only asynchronous ones have a limit of time.
  const auto finish = [&] {
    context.restart();
    context.run();
    if (failed) throw boost::system::system_error(failed);
  };
  const auto done = [&failed](error_code error, const auto&) { failed = error; };

  const auto addresses = net::ip::tcp::resolver(context).resolve(endpoint.host, endpoint.port);
  stream.expires_after(time);
  stream.async_connect(addresses, done);
  finish();
  beast::http::request<beast::http::string_body> request{beast::http::verb::post, endpoint.path, 11};
  const bool is_v6 = endpoint.host.find(':') != std::string::npos;
  request.set(beast::http::field::host, (is_v6 ? "[" + endpoint.host + "]" : endpoint.host) + ":" + endpoint.port);
  request.set(beast::http::field::user_agent, "loopwright");
  request.set(beast::http::field::content_type, "application/json");
  request.set(beast::http::field::connection, "close");
  request.body() = std::move(json);
  request.prepare_payload();
  beast::http::async_write(stream, request, done);
  finish();
  beast::flat_buffer buffer;
  beast::http::response_parser<beast::http::string_body> answer;
  answer.body_limit(kMostAnswer);
  beast::http::async_read(stream, buffer, answer, done);
  finish();
  return answer.get().result_int();
}

}  // namespace loopwright::serving::trace
