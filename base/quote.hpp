// What a message quotes of a user's text, value or path.
#pragma once

#include <string>
#include <string_view>

namespace collie {

// At most `most` bytes of a text of any length, on one line: control characters become spaces, and what is
// cut off, never inside a UTF-8 character, "...".
std::string shortened(std::string_view text, size_t most = 60);

}  // namespace collie
