// String literals of templates.
#pragma once

#include <string>
#include <string_view>

namespace collie::jinja {

// What stands between the quotes, with Python's escapes resolved (\n, \x41, \u00e9, ...). Throws Problem.
std::string unescaped(std::string_view literal);

}  // namespace collie::jinja
