#include "tests/certificates.hpp"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdio>
#include <stdexcept>
#include <utility>

namespace collie::test {
namespace {

void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(std::string("making certificates: ") + what);
}

template <class Write>
void write_pem(const std::string& path, const Write& write) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  require(file != nullptr, "fopen");
  require(write(file) == 1, "PEM");
  std::fclose(file);
}

void name(X509* certificate, const std::string& common_name) {
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
}

void extend(X509* certificate, int what, const char* value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, what, value);
  require(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, "extension");
  X509_EXTENSION_free(extension);
}

}  // namespace

struct Authority::Pair {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();

  Pair(const std::string& common_name, int from_days, int to_days) {
    require(key != nullptr && certificate != nullptr, "key");
    X509_set_version(certificate, 2);  // which is version 3
    uint64_t serial = 0;
    RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1);
    X509_time_adj_ex(X509_getm_notBefore(certificate), from_days, 0, nullptr);
    X509_time_adj_ex(X509_getm_notAfter(certificate), to_days, 0, nullptr);
    name(certificate, common_name);
    X509_set_pubkey(certificate, key);
  }
  ~Pair() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  void sign_by(const Pair& issuer) {
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer.certificate));
    require(X509_sign(certificate, issuer.key, EVP_sha256()) > 0, "signature");
  }
  void write_certificate(const std::string& path) const {
    write_pem(path, [&](std::FILE* file) { return PEM_write_X509(file, certificate); });
  }
  void write_key(const std::string& path) const {
    write_pem(path, [&](std::FILE* file) {
      return PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
  }
};

Authority::Authority(std::string folder, const std::string& name)
    : folder_(std::move(folder)), file_(folder_ + "/" + name + ".pem") {
  auto own = std::make_unique<Pair>(name, -2, 2);
  extend(own->certificate, NID_basic_constraints, "critical,CA:TRUE");
  own->sign_by(*own);
  own->write_certificate(file_);
  own_ = std::move(own);
}

Authority::~Authority() = default;

CertificateFiles Authority::issue(const std::string& name, int from_days, int to_days,
                                  const std::string& names) const {
  Pair issued(name, from_days, to_days);
  if (!names.empty()) extend(issued.certificate, NID_subject_alt_name, names.c_str());
  issued.sign_by(*own_);
  CertificateFiles files{folder_ + "/" + name + ".pem", folder_ + "/" + name + ".key"};
  issued.write_certificate(files.certificate);
  issued.write_key(files.key);
  require(::chmod(files.key.c_str(), 0600) == 0, "chmod");
  return files;
}

}  // namespace collie::test
