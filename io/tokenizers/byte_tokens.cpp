#include "io/tokenizers/byte_tokens.hpp"

#include <charconv>

#include "io/utf8.hpp"

namespace collie {

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  unsigned byte = 0;
  const auto parsed = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return parsed.ec == std::errc() && parsed.ptr == token.data() + 5 ? static_cast<int>(byte) : -1;
}

void append_byte_run(std::string_view bytes, std::string& text) {
  if (!first_invalid_utf8(bytes)) {
    text += bytes;
    return;
  }
  for (size_t i = 0; i < bytes.size(); ++i) text += "\xEF\xBF\xBD";
}

}  // namespace collie
