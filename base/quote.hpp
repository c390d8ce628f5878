// Shortens a user's text, value or path for a message.
#pragma once

#include <string>
#include <string_view>

namespace collie {

// At most `most` bytes of a text of any length, on one line. Control characters become spaces. The cut-off
// rest becomes "..."; the cut is never inside a UTF-8 character.
std::string shortened(std::string_view text, size_t most = 60);

}  // namespace collie
