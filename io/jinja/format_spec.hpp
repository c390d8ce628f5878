// One value by a format specification (Python's "Format Specification Mini-Language").
#pragma once

#include <string>
#include <string_view>

#include "io/jinja/value.hpp"

namespace collie::jinja {

struct FormatSpec {
  std::string fill = " ";
  char align = 0;   // < > ^ =, or 0: as the type wants it
  char sign = '-';  // + - or a space
  bool alternate = false;
  char grouping = 0;  // , or _ between thousands
  int64_t width = 0;  // code points
  int64_t precision = -1;
  char type = 0;
};

// Throws Problem quoting the specification.
FormatSpec parse_format_spec(std::string_view text);
std::string formatted(Runtime& runtime, const Value& value, const FormatSpec& spec);

// `text` filled up to the specification's width. `align` is used where the specification has none.
std::string padded(std::string text, const FormatSpec& spec, char align);
// The digits of a float in the types e, E, f, F, g, G, with a sign if it is negative.
std::string float_digits(double number, char type, int64_t precision, bool alternate);

}  // namespace collie::jinja
