#include <cstddef>
#include <span>
#include <string>

#include "base/sha256.hpp"
#include "tests/catch.hpp"

using namespace collie;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

TEST_CASE("SHA-256 gives the digests of FIPS 180-4's examples") {
  CHECK(sha256_hex({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex(bytes_of("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256_hex(bytes_of(std::string(1000000, 'a'))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("a SHA-256 digest does not depend on how the bytes are cut, and the object can be used again") {
  const std::string text(1000, 'x');
  Sha256 digest;
  for (int round = 0; round < 2; ++round) {
    for (size_t begin = 0, size = 1; begin < text.size(); begin += size, ++size)
      digest.update(bytes_of(text.substr(begin, size)));
    CHECK(digest.finish() == sha256_hex(bytes_of(text)));
  }
  Sha256 moved = std::move(digest);
  CHECK(moved.finish() == sha256_hex({}));
}
