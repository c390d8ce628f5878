#pragma once

#include "io/unicode.hpp"

namespace collie {

// ASCII's punctuation and symbols: Python's string.punctuation. Bytes of longer characters are none.
inline bool is_ascii_punctuation(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 128 && is_punctuation(byte);
}

}  // namespace collie
