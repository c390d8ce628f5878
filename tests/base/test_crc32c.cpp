#include "base/crc32c.hpp"

#include <string>

#include "tests/catch.hpp"

using collie::crc32c;

TEST_CASE(
    "CRC-32C: the vectors of RFC 3720, appendix B.4, and the check value "
    "of the catalogue") {
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAu);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43u);
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) {
    rising += static_cast<char>(i);
    falling += static_cast<char>(31 - i);
  }
  CHECK(crc32c(rising) == 0x46DD794Eu);
  CHECK(crc32c(falling) == 0x113FDB5Cu);
  const unsigned char read_command[48] = {0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0,
                                          0x14, 0,    0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
                                          0x28, 0,    0, 0, 0, 0, 0, 0, 2, 0, 0, 0,    0, 0, 0, 0};
  CHECK(crc32c({reinterpret_cast<const char*>(read_command), sizeof read_command}) == 0xD9963A56u);
  CHECK(crc32c("123456789") == 0xE3069283u);
  CHECK(crc32c("") == 0);
}
