// A connected TCP socket with another process, encrypted or not, and what is needed to open one.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "io/config.hpp"
#include "net/address.hpp"
#include "net/peer_handshake.hpp"

namespace collie {

// What this process has to show to others, read from its files once.
class PeerCredentials {
 public:
  // Throws UserError as check_certificates() and cluster_secret() do.
  explicit PeerCredentials(const ClusterSection& cluster);

  SSL_CTX* tls() const { return tls_.get(); }        // null without certificates
  const PeerKey& secret() const { return secret_; }  // unused with certificates

 private:
  std::shared_ptr<SSL_CTX> tls_;
  PeerKey secret_{};
};

class PeerChannel {
 public:
  enum class Side : uint8_t { connects, listens };
  // Takes over a connected socket, which it makes non-blocking.
  PeerChannel(int socket, const PeerCredentials& credentials, Side side);
  ~PeerChannel();
  PeerChannel(const PeerChannel&) = delete;
  PeerChannel& operator=(const PeerChannel&) = delete;

  // Nothing here blocks: `wait_*` says what the socket must be ready for before the same call is made again.
  enum class State : uint8_t { done, wait_to_read, wait_to_write, closed };
  State encrypt();  // TLS's own handshake; `done` at once where nothing is encrypted
  State read(std::span<uint8_t> bytes, size_t& count);
  State write(std::span<const uint8_t> bytes, size_t& count);
  // Decrypted, and not read yet.
  size_t pending() const;

  // For the handshake, once encrypted: the cluster's secret, or this connection's own.
  PeerKey key() const;
  // Whether the other side's certificate is for the address or the name; always, where nothing is encrypted.
  bool is_for(const NodeAddress& address) const;
  std::string names() const;  // that its certificate is for, for messages

  // Why the channel is closed: the other side's TLS alert, or what was wrong with its certificate; "" where
  // the connection just ended.
  const std::string& failure() const { return failure_; }

  int socket() const { return socket_; }
  // From now on somebody else closes the socket, after this object is gone.
  int release() { return std::exchange(owned_, -1); }

 private:
  State result(int returned);
  struct Free {
    void operator()(SSL* ssl) const { ::SSL_free(ssl); }
  };

  const int socket_;
  int owned_;
  const PeerKey secret_;
  std::unique_ptr<SSL, Free> ssl_;
  std::string failure_;
};

}  // namespace collie
