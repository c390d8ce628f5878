// Tokens that stand for a byte: "<0xE2>".
#pragma once

#include <string>
#include <string_view>

namespace collie {

// The byte that `token` stands for, or -1.
int byte_of_token(std::string_view token);

// Appends what a run of byte tokens spells. If the run as a whole is not UTF-8, each of its bytes becomes
// U+FFFD.
void append_byte_run(std::string_view bytes, std::string& text);

}  // namespace collie
