#include "tls/certificate.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "loopwright/serving/error.h"

namespace loopwright::serving::tls {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

std::string read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  std::getline(file, text, '\0');
  if (file.bad() || text.empty())
    throw invalid("cannot read " + path + ": " + (errno ? std::strerror(errno) : "the file is empty"));
  return text;
}

}  // namespace

Certificate read_certificate(const std::string& chain_file, const std::string& key_file) {
  Certificate certificate{read_file(chain_file), read_file(key_file)};
  try {
    server_context(certificate);
  } catch (const Error& error) {
    throw invalid("the certificate " + chain_file + " and the key " + key_file + ": " + error.what());
  }
  return certificate;
}

ssl::context server_context(const Certificate& certificate) {
  ssl::context context(ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.native_handle(), SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(context.native_handle(), SSL_SESS_CACHE_OFF);  // clients keep tickets instead
  error_code error;
  // Without it, OpenSSL reads the password of an encrypted key from the terminal.
  context.set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); }, error);
  context.use_private_key(boost::asio::buffer(certificate.key), ssl::context::pem, error);
  if (error) throw invalid("not a private key in PEM form without a password (" + error.message() + ")");
  context.use_certificate_chain(boost::asio::buffer(certificate.chain), error);
  if (error) throw invalid("not a certificate in PEM form (" + error.message() + ")");
  if (SSL_CTX_check_private_key(context.native_handle()) != 1) throw invalid("the key is of another certificate");
  return context;
}

}  // namespace loopwright::serving::tls
