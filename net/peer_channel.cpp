#include "net/peer_channel.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "net/certificates.hpp"
#include "net/peer_secret.hpp"

namespace collie {
namespace {

// OpenSSL's own socket BIO raises SIGPIPE if the other side is gone; this function does not.
int write_socket(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const int socket = static_cast<int>(reinterpret_cast<intptr_t>(::BIO_get_data(bio)));
  const ssize_t count = ::send(socket, bytes, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(count);
}

int read_socket(BIO* bio, char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const int socket = static_cast<int>(reinterpret_cast<intptr_t>(::BIO_get_data(bio)));
  const ssize_t count = ::recv(socket, bytes, static_cast<size_t>(size), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(count);
}

long control_socket(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO* open_bio(int socket) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* const made = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "a peer's socket");
    ::BIO_meth_set_write(made, write_socket);
    ::BIO_meth_set_read(made, read_socket);
    ::BIO_meth_set_ctrl(made, control_socket);
    return made;
  }();
  BIO* const bio = ::BIO_new(method);
  if (bio == nullptr) throw RunError("out of memory");
  ::BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(socket)));
  ::BIO_set_init(bio, 1);
  return bio;
}

// check_certificates() has already read the same files, so an error here means that a file has changed since.
std::shared_ptr<SSL_CTX> open_context(const TlsSection& files) {
  std::shared_ptr<SSL_CTX> context(::SSL_CTX_new(::TLS_method()),
                                   [](SSL_CTX* each) { ::SSL_CTX_free(each); });
  const bool ready = context && ::SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) == 1 &&
                     ::SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) == 1 &&
                     ::SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) == 1 &&
                     ::SSL_CTX_load_verify_locations(context.get(), files.ca.c_str(), nullptr) == 1;
  if (!ready) throw UserError("cluster.tls: the certificate, its key or the authority's cannot be loaded");
  ::SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // No session is kept for a later connection, and a stranger's certificates may use only little memory.
  ::SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  ::SSL_CTX_set_num_tickets(context.get(), 0);
  ::SSL_CTX_set_max_cert_list(context.get(), 32 << 10);
  // A delayed write may be repeated from another place in memory.
  ::SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ::ERR_clear_error();
  return context;
}

std::string name_text(const GENERAL_NAME* name) {
  int kind = 0;
  const auto* const value = static_cast<const ASN1_STRING*>(::GENERAL_NAME_get0_value(name, &kind));
  const unsigned char* const data = ::ASN1_STRING_get0_data(value);
  const auto size = static_cast<size_t>(::ASN1_STRING_length(value));
  if (kind == GEN_DNS) return {data, data + size};
  if (kind != GEN_IPADD || (size != 4 && size != 16)) return "";
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(size == 4 ? AF_INET : AF_INET6, data, text, sizeof text);
  return text;
}

}  // namespace

PeerCredentials::PeerCredentials(const ClusterSection& cluster) {
  const TlsSection& files = cluster.tls;
  if (!files.certificate.empty()) {
    check_certificates(files);
    tls_ = open_context(files);
    return;
  }
  if (!files.key.empty() || !files.ca.empty())
    throw UserError("cluster.tls: certificate is missing; certificate, key and ca are needed together");
  secret_ = cluster_secret(cluster);
}

void PeerChannel::Free::operator()(ssl_st* ssl) const {
  ::SSL_free(ssl);
}

PeerChannel::PeerChannel(int socket, const PeerCredentials& credentials, Side side)
    : socket_(socket), owned_(socket), secret_(credentials.secret()) {
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
  if (credentials.tls() == nullptr) return;
  ssl_.reset(::SSL_new(credentials.tls()));
  if (!ssl_) throw RunError("out of memory");
  BIO* const bio = open_bio(socket);
  ::SSL_set_bio(ssl_.get(), bio, bio);
  if (side == Side::listens)
    ::SSL_set_accept_state(ssl_.get());
  else
    ::SSL_set_connect_state(ssl_.get());
}

PeerChannel::~PeerChannel() {
  ssl_.reset();
  if (owned_ >= 0) ::close(owned_);
}

PeerChannel::State PeerChannel::result(int returned) {
  switch (::SSL_get_error(ssl_.get(), returned)) {
    case SSL_ERROR_WANT_READ:
      return State::wait_to_read;
    case SSL_ERROR_WANT_WRITE:
      return State::wait_to_write;
    case SSL_ERROR_SSL: {
      const long verified = ::SSL_get_verify_result(ssl_.get());
      const char* const reason = ::ERR_reason_error_string(::ERR_peek_error());
      failure_ = verified != X509_V_OK ? ::X509_verify_cert_error_string(verified)
                                       : (reason != nullptr ? reason : "TLS failed");
      return State::closed;
    }
    default:
      return State::closed;
  }
}

PeerChannel::State PeerChannel::encrypt() {
  if (!ssl_) return State::done;
  ::ERR_clear_error();  // SSL_get_error() would take errors left by another connection for this one's
  const int returned = ::SSL_do_handshake(ssl_.get());
  return returned == 1 ? State::done : result(returned);
}

PeerChannel::State PeerChannel::read(std::span<uint8_t> bytes, size_t& count) {
  count = 0;
  if (ssl_) {
    ::ERR_clear_error();
    const int returned = ::SSL_read_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
    return returned == 1 ? State::done : result(returned);
  }
  const ssize_t returned = ::recv(socket_, bytes.data(), bytes.size(), 0);
  if (returned < 0 && (errno == EAGAIN || errno == EINTR)) return State::wait_to_read;
  if (returned <= 0) return State::closed;
  count = static_cast<size_t>(returned);
  return State::done;
}

PeerChannel::State PeerChannel::write(std::span<const uint8_t> bytes, size_t& count) {
  count = 0;
  if (ssl_) {
    ::ERR_clear_error();
    const int returned = ::SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
    return returned == 1 ? State::done : result(returned);
  }
  const ssize_t returned = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (returned < 0 && (errno == EAGAIN || errno == EINTR)) return State::wait_to_write;
  if (returned < 0) return State::closed;
  count = static_cast<size_t>(returned);
  return State::done;
}

size_t PeerChannel::pending() const {
  return ssl_ ? static_cast<size_t>(::SSL_pending(ssl_.get())) : 0;
}

PeerKey PeerChannel::key() const {
  if (!ssl_) return secret_;
  constexpr std::string_view label = "EXPORTER-collie-engine";
  PeerKey key{};
  if (::SSL_export_keying_material(ssl_.get(), key.data(), key.size(), label.data(), label.size(), nullptr, 0,
                                   0) != 1)
    throw RunError("TLS has no key to export");
  return key;
}

bool PeerChannel::is_for(const NodeAddress& address) const {
  if (!ssl_) return true;
  X509* const certificate = ::SSL_get0_peer_certificate(ssl_.get());
  if (certificate == nullptr) return false;
  return ::X509_check_ip_asc(certificate, address.host.c_str(), 0) == 1 ||
         (!address.name.empty() &&
          ::X509_check_host(certificate, address.name.c_str(), address.name.size(), 0, nullptr) == 1);
}

std::string PeerChannel::names() const {
  X509* const certificate = ssl_ ? ::SSL_get0_peer_certificate(ssl_.get()) : nullptr;
  std::string all;
  auto* const found = certificate == nullptr ? nullptr
                                             : static_cast<GENERAL_NAMES*>(::X509_get_ext_d2i(
                                                   certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int each = 0; each < sk_GENERAL_NAME_num(found); ++each) {
    const std::string text = name_text(sk_GENERAL_NAME_value(found, each));
    if (!text.empty()) all += (all.empty() ? "" : ", ") + text;
  }
  ::GENERAL_NAMES_free(found);
  return all.empty() ? "no name" : all;
}

}  // namespace collie
