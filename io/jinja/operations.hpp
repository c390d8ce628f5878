// Operators of values that are not only numbers.
#pragma once

#include "io/jinja/number.hpp"
#include "io/jinja/value.hpp"

namespace collie::jinja {

// a OPERATOR b: numbers, strings and lists that are joined or repeated, and FORMAT % VALUE. Throws Problem
// for types that Python does not take.
Value apply_operator(Runtime& runtime, Operator operation, const Value& a, const Value& b);

// ITEM in CONTAINER.
bool contains(Runtime& runtime, const Value& container, const Value& item);

// The text with & < > ' " as HTML entities, as a string that is safe.
Value escaped(Runtime& runtime, const Value& value);

}  // namespace collie::jinja
