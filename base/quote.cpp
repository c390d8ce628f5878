#include "base/quote.hpp"

namespace collie {

std::string shortened(std::string_view text, size_t most) {
  constexpr size_t longest_character = 4;  // bytes of UTF-8
  size_t size = text.size();
  if (size > most)
    for (size = most; size > 0 && most - size < longest_character; --size)
      if ((static_cast<unsigned char>(text[size]) & 0xC0) != 0x80) break;
  std::string result(text.substr(0, size));
  for (char& c : result)
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  return size < text.size() ? result + "..." : result;
}

}  // namespace collie
