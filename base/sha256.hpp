// SHA-256 (FIPS 180-4), computed by OpenSSL.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace collie {

// A digest that is fed piece by piece. How the bytes are cut into pieces does not change it.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);

  // The digest of everything so far as 64 lower-case hexadecimal digits. Afterwards the object is as new.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::span<const std::byte> bytes);

}  // namespace collie
