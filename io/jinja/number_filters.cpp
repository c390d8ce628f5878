// Filters of numbers.
#include <cmath>

#include "io/jinja/filters.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/problem.hpp"

namespace collie::jinja {

namespace {

Value abs_filter(Runtime&, const Value& value, const BoundArguments&) {
  if (!defined(value).is_number())
    throw Problem("the filter 'abs' gets a {}; it takes a number", value.type_name());
  if (value.is_float()) return std::abs(value.number());
  return value.integer() < 0 ? negated(value) : Value(value.integer());
}

// int(float(VALUE)), or the default.
Value through_float(const Value& value, const Value& otherwise) {
  std::optional<double> number;
  if (value.is_text()) number = parse_python_float(value.bytes());
  if (value.is_number()) number = value.number();
  return number && std::isfinite(*number) ? Value(truncated(*number)) : otherwise;
}

Value int_filter(Runtime&, const Value& value, const BoundArguments& arguments) {
  defined(value);
  const Value otherwise = arguments[0].value_or(Value(int64_t{0}));
  const int64_t base = arguments[1] ? integer_argument(*arguments[1], "the base of the filter 'int'") : 10;
  if (value.is_integer()) return value.integer();
  if (value.is_float() && std::isinf(value.number())) return truncated(value.number());
  if (value.is_text())
    if (const auto number = parse_python_integer(value.bytes(), base)) return *number;
  return through_float(value, otherwise);
}

Value float_filter(Runtime&, const Value& value, const BoundArguments& arguments) {
  defined(value);
  if (value.is_number()) return value.number();
  if (value.is_text())
    if (const auto number = parse_python_float(value.bytes())) return *number;
  return arguments[0].value_or(Value(0.0));
}

Value round_filter(Runtime&, const Value& value, const BoundArguments& arguments) {
  if (!defined(value).is_number())
    throw Problem("the filter 'round' gets a {}; it takes a number", value.type_name());
  const Value precision = arguments[0].value_or(Value(int64_t{0}));
  const std::string method =
      arguments[1] ? text_argument(*arguments[1], "the method of the filter 'round'") : "common";
  integer_argument(precision, "the precision of the filter 'round'");
  if (method == "common") return rounded(value, precision.integer());
  if (method != "ceil" && method != "floor")
    throw Problem("the filter 'round' gets the method '{}'; it must be common, ceil or floor", method);
  const Value unit = calculate(Operator::power, Value(int64_t{10}), precision);
  const double scaled = calculate(Operator::multiply, value, unit).number();
  const Value whole = truncated(method == "ceil" ? std::ceil(scaled) : std::floor(scaled));
  return calculate(Operator::divide, whole, unit);
}

}  // namespace

void add_number_filters(Filters& filters) {
  filters["abs"] = with_signature("abs", {}, abs_filter);
  filters["int"] = with_signature("int", {{"default", "base"}}, int_filter);
  filters["float"] = with_signature("float", {{"default"}}, float_filter);
  filters["round"] = with_signature("round", {{"precision", "method"}}, round_filter);
}

}  // namespace collie::jinja
