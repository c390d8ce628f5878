// Characters that become several when they are written in upper or title case (Unicode's SpecialCasing.txt).
#pragma once

#include <string_view>

namespace collie::jinja {

// The UTF-8 text, or an empty one if the character becomes a single character.
std::string_view special_upper_case(char32_t code_point);
std::string_view special_title_case(char32_t code_point);

}  // namespace collie::jinja
