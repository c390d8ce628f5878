// UTF-8 (RFC 3629).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace collie {

// The offset of the first byte that is not part of a well-formed sequence, if any.
std::optional<size_t> first_invalid_utf8(std::string_view text);

// The code point at `position` of valid UTF-8. `position` moves behind it.
char32_t next_code_point(std::string_view text, size_t& position);

// The start of the code point that ends before `position` (> 0) of valid UTF-8.
size_t previous_code_point(std::string_view text, size_t position);

void append_utf8(std::string& text, char32_t code_point);

// Replaces each maximal ill-formed part of `bytes` by U+FFFD (the Unicode standard, section 3.9; browsers do
// the same).
std::string replace_invalid_utf8(std::string_view bytes);

}  // namespace collie
