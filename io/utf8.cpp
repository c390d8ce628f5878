#include "io/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace collie {

namespace {

struct Sequence {
  size_t length = 1;  // bytes; of the maximal ill-formed part if it is not valid
  bool valid = false;
};

bool is_continuation(unsigned char byte) {
  return (byte & 0xC0u) == 0x80u;
}

// Table 3-7 of the Unicode standard: only the second byte has special ranges.
Sequence read_sequence(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) -> unsigned { return static_cast<unsigned char>(text[position + i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, true};
  if (lead < 0xC2 || lead > 0xF4) return {1, false};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const unsigned lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (position + i == text.size()) return {i, false};
    const bool fits = i == 1 ? byte(1) >= lowest && byte(1) <= highest
                             : is_continuation(static_cast<unsigned char>(byte(i)));
    if (!fits) return {i, false};
  }
  return {length, true};
}

// The end of the run of ASCII at `position`, or a place a little before it.
size_t skip_ascii(std::string_view text, size_t position) {
  uint64_t word = 0;
  while (position + sizeof(word) <= text.size()) {
    std::memcpy(&word, text.data() + position, sizeof(word));
    if (word & 0x8080808080808080u) break;
    position += sizeof(word);
  }
  return position;
}

}  // namespace

std::optional<size_t> first_invalid_utf8(std::string_view text) {
  for (size_t position = skip_ascii(text, 0); position < text.size();) {
    const Sequence sequence = read_sequence(text, position);
    if (!sequence.valid) return position;
    position = skip_ascii(text, position + sequence.length);
  }
  return std::nullopt;
}

char32_t next_code_point(std::string_view text, size_t& position) {
  const auto lead = static_cast<unsigned char>(text[position++]);
  if (lead < 0x80) return lead;
  const int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t code_point = lead & (0x3Fu >> more);
  for (int i = 0; i < more; ++i)
    code_point = (code_point << 6) | (static_cast<unsigned char>(text[position++]) & 0x3Fu);
  return code_point;
}

size_t previous_code_point(std::string_view text, size_t position) {
  do --position;
  while (position > 0 && is_continuation(static_cast<unsigned char>(text[position])));
  return position;
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto add = [&](char32_t bits) { text.push_back(static_cast<char>(bits)); };
  if (code_point < 0x80) {
    add(code_point);
  } else if (code_point < 0x800) {
    add(0xC0 | (code_point >> 6));
    add(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    add(0xE0 | (code_point >> 12));
    add(0x80 | ((code_point >> 6) & 0x3F));
    add(0x80 | (code_point & 0x3F));
  } else {
    add(0xF0 | (code_point >> 18));
    add(0x80 | ((code_point >> 12) & 0x3F));
    add(0x80 | ((code_point >> 6) & 0x3F));
    add(0x80 | (code_point & 0x3F));
  }
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string text;
  for (size_t position = 0; position < bytes.size();) {
    const Sequence sequence = read_sequence(bytes, position);
    text += sequence.valid ? bytes.substr(position, sequence.length) : std::string_view("\xEF\xBF\xBD");
    position += sequence.length;
  }
  return text;
}

}  // namespace collie
