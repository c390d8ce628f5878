// Throw-away certificates for tests.
#pragma once

#include <memory>
#include <string>

namespace collie::test {

struct CertificateFiles {
  std::string certificate, key;  // PEM files
};

class Authority {
 public:
  // Writes FOLDER/NAME.pem, the certificate of a new authority.
  Authority(std::string folder, const std::string& name);
  ~Authority();
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  const std::string& file() const { return file_; }
  // Writes FOLDER/NAME.pem and FOLDER/NAME.key; valid from and to so many days from now, for the names that
  // OpenSSL's notation for subjectAltName lists ("" for none).
  CertificateFiles issue(const std::string& name, int from_days = -1, int to_days = 1,
                         const std::string& names = usual_names) const;

  // Of the loopback interface, and of the hosts of tests (tests/cli/hosts.hpp).
  static constexpr const char* usual_names = "IP:127.0.0.1,IP:::1,DNS:localhost,IP:10.83.0.1,IP:10.83.0.2";

 private:
  struct Pair;
  std::string folder_, file_;
  std::unique_ptr<const Pair> own_;
};

}  // namespace collie::test
