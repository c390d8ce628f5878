#include "net/certificates.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "base/regular_file.hpp"
#include "net/peer_secret.hpp"

namespace collie {
namespace {

template <auto function>
struct Free {
  template <class Object>
  void operator()(Object* object) const {
    function(object);
  }
};
void free_stack(STACK_OF(X509) * stack) {
  sk_X509_pop_free(stack, X509_free);
}
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Store = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using Verification = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>>;
using Chain = std::unique_ptr<STACK_OF(X509), Free<free_stack>>;

void check_readable(const char* key, const std::string& file) {
  if (file.empty())
    throw UserError("cluster.tls.{}: is missing; certificate, key and ca are needed together", key);
  if (::access(file.c_str(), R_OK) != 0)
    throw UserError("cluster.tls.{}: '{}' cannot be read: {}", key, file, std::strerror(errno));
  check_regular_file(file, fmt::format("cluster.tls.{}", key));  // every connection reads it again
}

Bio open(const std::string& file) {
  return Bio(BIO_new_file(file.c_str(), "r"));
}

Certificate next_certificate(BIO* file) {
  return Certificate(PEM_read_bio_X509(file, nullptr, nullptr, nullptr));
}

Key read_key(const std::string& file) {
  const auto no_passphrase = [](char*, int, int, void*) { return 0; };  // do not ask at the terminal
  Key key(PEM_read_bio_PrivateKey(open(file).get(), nullptr, no_passphrase, nullptr));
  if (!key) throw UserError("cluster.tls.key: '{}' holds no private key (PEM, without a passphrase)", file);
  return key;
}

Store read_authority(const std::string& file) {
  Store store(X509_STORE_new());
  if (X509_STORE_load_locations(store.get(), file.c_str(), nullptr) != 1)
    throw UserError("cluster.tls.ca: '{}' holds no certificates (PEM)", file);
  return store;
}

std::string time_of(const ASN1_TIME* time) {
  const Bio text(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(text.get(), time);
  char* data = nullptr;
  const long size = BIO_get_mem_data(text.get(), &data);
  return {data, static_cast<size_t>(size)};
}

// Checks the certificate as a server's and as a client's, because nodes are both.
void check_issued(const TlsSection& tls, X509* own, STACK_OF(X509) * chain) {
  const Store authority = read_authority(tls.ca);
  for (const auto& [purpose, side] : {std::pair(X509_PURPOSE_SSL_SERVER, "who listens"),
                                      std::pair(X509_PURPOSE_SSL_CLIENT, "who connects")}) {
    const Verification verification(X509_STORE_CTX_new());
    X509_STORE_CTX_init(verification.get(), authority.get(), own, chain);
    X509_STORE_CTX_set_purpose(verification.get(), purpose);
    if (X509_verify_cert(verification.get()) == 1) continue;
    throw UserError(
        "cluster.tls.certificate: '{}' is not valid for {} under the authority in '{}': {} (it is for the "
        "time from {} to {})",
        tls.certificate, side, tls.ca,
        X509_verify_cert_error_string(X509_STORE_CTX_get_error(verification.get())),
        time_of(X509_get0_notBefore(own)), time_of(X509_get0_notAfter(own)));
  }
}

}  // namespace

void check_certificates(const TlsSection& tls) {
  check_readable("certificate", tls.certificate);
  check_readable("key", tls.key);
  check_readable("ca", tls.ca);
  const Bio file = open(tls.certificate);
  const Certificate own = next_certificate(file.get());
  if (!own) throw UserError("cluster.tls.certificate: '{}' holds no certificate (PEM)", tls.certificate);
  const Chain chain(sk_X509_new_null());
  while (Certificate next = next_certificate(file.get())) sk_X509_push(chain.get(), next.release());
  const Key key = read_key(tls.key);
  if (X509_check_private_key(own.get(), key.get()) != 1)
    throw UserError(
        "cluster.tls.key: '{}' does not belong to the certificate '{}'; the key with which it was "
        "requested is needed",
        tls.key, tls.certificate);
  check_private(tls.key, "cluster.tls.key");
  check_issued(tls, own.get(), chain.get());
  ERR_clear_error();  // reading to the end of a file leaves an error
}

}  // namespace collie
