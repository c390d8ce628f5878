// A connected TCP socket to another process, encrypted or not, and the credentials that open one.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "io/config.hpp"
#include "net/address.hpp"
#include "net/peer_handshake.hpp"

// SSL and SSL_CTX of OpenSSL, whose headers a host program does not need.
struct ssl_st;
struct ssl_ctx_st;

namespace collie {

// The credentials that this process shows to others. They are read from its files once.
class PeerCredentials {
 public:
  // Throws UserError as check_certificates() and cluster_secret() do.
  explicit PeerCredentials(const ClusterSection& cluster);

  ssl_ctx_st* tls() const { return tls_.get(); }     // null without certificates
  const PeerKey& secret() const { return secret_; }  // unused with certificates

 private:
  std::shared_ptr<ssl_ctx_st> tls_;
  PeerKey secret_{};
};

class PeerChannel {
 public:
  enum class Side : uint8_t { connects, listens };
  // Becomes the owner of a connected socket and makes it non-blocking.
  PeerChannel(int socket, const PeerCredentials& credentials, Side side);
  ~PeerChannel();
  PeerChannel(const PeerChannel&) = delete;
  PeerChannel& operator=(const PeerChannel&) = delete;

  // No call here blocks. `wait_*` says what the socket must be ready for before the caller repeats the call.
  enum class State : uint8_t { done, wait_to_read, wait_to_write, closed };
  State encrypt();  // runs the TLS handshake; `done` at once if nothing is encrypted
  State read(std::span<uint8_t> bytes, size_t& count);
  State write(std::span<const uint8_t> bytes, size_t& count);
  // The number of bytes that are decrypted and not read yet.
  size_t pending() const;

  // The key for the handshake, valid once encrypted: the cluster's secret, or this connection's own key.
  PeerKey key() const;
  // Whether the other side's certificate is for the address or the name. Always true if nothing is encrypted.
  bool is_for(const NodeAddress& address) const;
  std::string names() const;  // names in the other side's certificate, for messages

  // Why the channel is closed: the other side's TLS alert, or the error in its certificate. It is "" if the
  // connection just ended.
  const std::string& failure() const { return failure_; }

  int socket() const { return socket_; }
  // After this call somebody else closes the socket, once this object is gone.
  int release() { return std::exchange(owned_, -1); }

 private:
  State result(int returned);
  struct Free {
    void operator()(ssl_st* ssl) const;
  };

  const int socket_;
  int owned_;
  const PeerKey secret_;
  std::unique_ptr<ssl_st, Free> ssl_;
  std::string failure_;
};

}  // namespace collie
