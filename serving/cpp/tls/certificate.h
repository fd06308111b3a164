// The certificate of the server, for the ports that speak TLS.
#pragma once

#include <string>

namespace boost::asio::ssl {
class context;
}

namespace loopwright::serving::tls {

struct Certificate {
  std::string chain, key;  // in PEM form
};

// Throws Error (kInvalidArgument) if a file cannot be read, or if the key does not fit the certificate.
Certificate read_certificate(const std::string& chain_file, const std::string& key_file);

// Returns a context for connections of TLS 1.2 and later. Throws Error (kInvalidArgument).
boost::asio::ssl::context server_context(const Certificate& certificate);

}  // namespace loopwright::serving::tls
