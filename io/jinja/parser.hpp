// Makes the tree of a template.
#pragma once

#include <string_view>

#include "io/jinja/tree.hpp"

namespace collie::jinja {

// The statements of a template. Throws SyntaxError (lexer.hpp), also for what Jinja2 has and this engine
// lacks.
Body parse_template(std::string_view source);

// Refuses filters, tests and functions that do not exist. Those that Jinja2 does not know either are refused
// inside of conditions only when they are reached, as Jinja2 does it. Throws SyntaxError.
void check_names(const Body& body);

}  // namespace collie::jinja
