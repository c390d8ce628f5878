#include "io/jinja/string_escapes.hpp"

#include "io/jinja/problem.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
}

// Reads up to `most` digits at `at`. Throws if there are fewer than `fewest`.
char32_t read_code(std::string_view text, size_t& at, size_t fewest, size_t most, int base) {
  char32_t code = 0;
  size_t count = 0;
  for (; count < most && at < text.size() && digit_value(text[at]) < base; ++count, ++at)
    code = code * static_cast<char32_t>(base) + static_cast<char32_t>(digit_value(text[at]));
  if (count < fewest) throw Problem("an escape of a string has {} digits; it must have {}", count, fewest);
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
    throw Problem("an escape of a string names U+{:04X}, which is no character", static_cast<uint32_t>(code));
  return code;
}

// The character of a one-letter escape, or 0.
char simple_escape(char letter) {
  switch (letter) {
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return letter;
    default:
      return '\0';
  }
}

void append_escape(std::string& result, std::string_view text, size_t& at) {
  const char letter = text[at];
  if (const char simple = simple_escape(letter)) {
    result += simple;
    ++at;
  } else if (letter == '\n') {
    ++at;
  } else if (letter >= '0' && letter <= '7') {
    append_utf8(result, read_code(text, at, 1, 3, 8));
  } else if (letter == 'x' || letter == 'u' || letter == 'U') {
    const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
    append_utf8(result, read_code(text, ++at, digits, digits, 16));
  } else if (letter == 'N') {
    throw Problem("a string has the escape \\N, which is not supported; write the character itself");
  } else {
    result += '\\';  // an unknown escape stays as it is
  }
}

}  // namespace

std::string unescaped(std::string_view literal) {
  std::string result;
  for (size_t at = 0; at < literal.size();) {
    if (literal[at] != '\\') {
      result += literal[at++];
      continue;
    }
    if (++at == literal.size()) throw Problem("a string ends with a backslash");
    append_escape(result, literal, at);
  }
  return result;
}

}  // namespace collie::jinja
