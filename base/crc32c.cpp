#include "base/crc32c.hpp"

#include <array>
#include <cstddef>

namespace collie {

namespace {

// The remainder of each byte by the polynomial 0x1EDC6F41, bits reversed.
constexpr std::array<uint32_t, 256> remainders = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit)
      remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82F63B78u : 0u);
    table[byte] = remainder;
  }
  return table;
}();

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t remainder = 0xFFFFFFFFu;
  for (const char byte : bytes)
    remainder = (remainder >> 8) ^ remainders[(remainder ^ static_cast<unsigned char>(byte)) & 0xFFu];
  return ~remainder;
}

}  // namespace collie
