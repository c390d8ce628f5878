#include <array>

#include "io/tokenizers/components.hpp"
#include "io/utf8.hpp"

namespace collie {

const std::vector<char32_t>& byte_characters() {
  static const std::vector<char32_t> characters = [] {
    std::vector<char32_t> all(256);
    char32_t next = 256;  // bytes that do not print get the code points from here on
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool prints = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      all[byte] = prints ? byte : next++;
    }
    return all;
  }();
  return characters;
}

void append_byte_characters(std::string& text, std::string_view bytes) {
  static const std::array<std::string, 256> spelled = [] {
    std::array<std::string, 256> all;
    for (size_t byte = 0; byte < 256; ++byte) append_utf8(all[byte], byte_characters()[byte]);
    return all;
  }();
  for (const char byte : bytes) text += spelled[static_cast<unsigned char>(byte)];
}

void TextPieces::write_out_characters() {
  if (!bytes_are_characters) return;
  bytes_are_characters = false;
  TextRewriter rewriter(text);
  std::string characters;
  for (auto& piece : pieces) {
    const size_t begin = rewriter.size();
    for (size_t i = piece.begin; i < piece.end; ++i) {
      characters.clear();
      append_byte_characters(characters, text.text().substr(i, 1));
      rewriter.write(characters, i);
    }
    piece = {begin, rewriter.size()};
  }
  text = rewriter.finish();
}

}  // namespace collie
