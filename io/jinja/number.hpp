// Python's arithmetic and the texts of its numbers. Integers have 64 bits; what goes beyond is refused.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/jinja/value.hpp"

namespace collie::jinja {

// Holds the results of 64-bit arithmetic until they are checked.
__extension__ using Wide = __int128;

enum class Operator { add, subtract, multiply, divide, floor_divide, modulo, power };

// a OPERATOR b for numbers. Throws Problem for a division by zero and for results beyond 64 bits.
Value calculate(Operator operation, const Value& a, const Value& b);
Value negated(const Value& value);

std::string float_text(double number);  // repr(): "1.0", "1e+16", "nan"

// int(TEXT, BASE) and float(TEXT); empty if the text is no such number. Throws Problem beyond 64 bits.
std::optional<int64_t> parse_python_integer(std::string_view text, int64_t base);
std::optional<double> parse_python_float(std::string_view text);

// int(NUMBER): towards zero. Throws Problem for infinities, NaN and beyond 64 bits.
int64_t truncated(double number);

// round(NUMBER, DIGITS): halves to even.
Value rounded(const Value& number, int64_t digits);

}  // namespace collie::jinja
