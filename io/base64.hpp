// Base64 (RFC 4648, section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace collie {

// The bytes that `text` spells, with or without padding; none if it is not base64.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace collie
