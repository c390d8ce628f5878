// Python's two ways of formatting: "%s" % value and "{}".format(value).
#pragma once

#include <string>

#include "io/jinja/arguments.hpp"

namespace collie::jinja {

// FORMAT % VALUE: s, r, a, d, i, u, x, X, o, e, E, f, F, g, G, c and %%, with flags, width and precision.
// VALUE is a tuple of values, a dict for %(name)s, or one value. Throws Problem for anything else.
std::string percent_format(Runtime& runtime, const std::string& format, const Value& value);

// FORMAT.format(...): fields {}, {0}, {name}, {name.attribute}, {0[key]}, conversions !s and !r, and the
// format specifications of strings and numbers. Throws Problem for anything else.
std::string brace_format(Runtime& runtime, const std::string& format, const Arguments& arguments);

}  // namespace collie::jinja
