#include "io/jinja/number.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "io/jinja/problem.hpp"
#include "io/jinja/text.hpp"

namespace collie::jinja {

namespace {

[[noreturn]] void refuse_large() {
  throw Problem("an int goes beyond 64 bits, which is not supported");
}

int64_t narrow(Wide value) {
  if (value > std::numeric_limits<int64_t>::max() || value < std::numeric_limits<int64_t>::min())
    refuse_large();
  return static_cast<int64_t>(value);
}

int64_t floor_quotient(int64_t a, int64_t b) {
  const Wide quotient = static_cast<Wide>(a) / b;
  return narrow(static_cast<Wide>(a) % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient);
}

int64_t floor_remainder(int64_t a, int64_t b) {
  const Wide remainder = static_cast<Wide>(a) % b;
  return narrow(remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder);
}

int64_t integer_power(int64_t base, int64_t exponent) {
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  if (exponent > 64) refuse_large();
  int64_t result = 1;
  for (; exponent > 0; --exponent) result = narrow(static_cast<Wide>(result) * base);
  return result;
}

// CPython's float_divmod.
double float_remainder(double a, double b) {
  double remainder = std::fmod(a, b);
  if (remainder == 0) return std::copysign(0.0, b);
  return (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

double float_floor_quotient(double a, double b) {
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) quotient -= 1.0;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1.0 : floored;
}

double float_power(double base, double exponent) {
  if (base == 0 && exponent < 0) throw Problem("0.0 cannot be raised to a negative power");
  if (base < 0 && std::isfinite(base) && exponent != std::floor(exponent))
    throw Problem("the power is a complex number, which is not supported");
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
    throw Problem("the power is too large for a float");
  return result;
}

double float_quotient(const Value& a, const Value& b) {
  if (!a.is_integer() || !b.is_integer()) return a.number() / b.number();
  return static_cast<double>(static_cast<long double>(a.integer()) / static_cast<long double>(b.integer()));
}

Value calculate_integers(Operator operation, int64_t a, int64_t b) {
  switch (operation) {
    case Operator::add:
      return narrow(static_cast<Wide>(a) + b);
    case Operator::subtract:
      return narrow(static_cast<Wide>(a) - b);
    case Operator::multiply:
      return narrow(static_cast<Wide>(a) * b);
    case Operator::floor_divide:
      return floor_quotient(a, b);
    case Operator::modulo:
      return floor_remainder(a, b);
    default:
      return integer_power(a, b);
  }
}

Value calculate_floats(Operator operation, double a, double b) {
  switch (operation) {
    case Operator::add:
      return a + b;
    case Operator::subtract:
      return a - b;
    case Operator::multiply:
      return a * b;
    case Operator::floor_divide:
      return float_floor_quotient(a, b);
    case Operator::modulo:
      return float_remainder(a, b);
    default:
      return float_power(a, b);
  }
}

bool divides(Operator operation) {
  return operation == Operator::divide || operation == Operator::floor_divide ||
         operation == Operator::modulo;
}

// Without "_" between digits; empty if one is elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      result += text[i];
      continue;
    }
    const auto digit = [&](size_t at) {
      return at < text.size() && std::isxdigit(static_cast<unsigned char>(text[at]));
    };
    if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
  }
  return result;
}

// Removes "0x" and the like, if the base allows it, and gives the base of the rest.
int64_t remove_prefix_of_base(std::string_view& digits, int64_t base) {
  constexpr std::pair<char, int64_t> prefixes[] = {{'x', 16}, {'o', 8}, {'b', 2}};
  for (const auto& [letter, its_base] : prefixes)
    if (digits.size() > 2 && digits[0] == '0' && (digits[1] | 0x20) == letter &&
        (base == its_base || base == 0)) {
      digits.remove_prefix(2);
      return its_base;
    }
  return base == 0 ? 10 : base;
}

int64_t round_integer(int64_t number, int64_t digits) {
  if (digits >= 0) return number;
  if (digits < -18) return 0;
  const int64_t unit = integer_power(10, -digits);
  const int64_t below = floor_quotient(number, unit), rest = floor_remainder(number, unit);
  const bool up = rest * 2 > unit || (rest * 2 == unit && below % 2 != 0);
  return narrow(static_cast<Wide>(below + (up ? 1 : 0)) * unit);
}

}  // namespace

Value calculate(Operator operation, const Value& a, const Value& b) {
  if (divides(operation) && b.number() == 0) throw Problem("division by zero");
  if (operation == Operator::divide) return float_quotient(a, b);
  const bool integers = a.is_integer() && b.is_integer();
  if (integers && !(operation == Operator::power && b.integer() < 0))
    return calculate_integers(operation, a.integer(), b.integer());
  return calculate_floats(operation, a.number(), b.number());
}

Value negated(const Value& value) {
  if (value.is_float()) return -value.number();
  return narrow(-static_cast<Wide>(value.integer()));
}

std::string float_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char buffer[64];
  const double size = std::abs(number);
  const auto format =
      size != 0 && (size < 1e-4 || size >= 1e16) ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), number, format).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::optional<int64_t> parse_python_integer(std::string_view text, int64_t base) {
  if (base != 0 && (base < 2 || base > 36))
    throw Problem("the base {} is given to int(); it must be 0 or 2 to 36", base);
  text = strip(text, std::nullopt, true, true);
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const std::string_view whole = text;
  base = remove_prefix_of_base(text, base);
  if (text.size() != whole.size() && text[0] == '_') text.remove_prefix(1);
  const auto digits = without_underscores(text);
  if (!digits || digits->empty() || (*digits)[0] == '-') return std::nullopt;
  const std::string signed_digits = (negative ? "-" : "") + *digits;
  int64_t number = 0;
  const char* end = signed_digits.data() + signed_digits.size();
  const auto result = std::from_chars(signed_digits.data(), end, number, static_cast<int>(base));
  if (result.ptr != end) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) refuse_large();
  return result.ec == std::errc() ? std::optional<int64_t>(number) : std::nullopt;
}

std::optional<double> parse_python_float(std::string_view text) {
  text = strip(text, std::nullopt, true, true);
  const auto plain = without_underscores(text);
  if (!plain || plain->empty()) return std::nullopt;
  std::string_view digits = *plain;
  const bool negative = digits[0] == '-';
  if (negative || digits[0] == '+') digits.remove_prefix(1);
  std::string lower(digits);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return static_cast<char>(c | 0x20); });
  double number = 0;
  if (lower == "inf" || lower == "infinity") {
    number = std::numeric_limits<double>::infinity();
  } else if (lower == "nan") {
    number = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (digits.empty() || digits[0] == '-' || std::isalpha(static_cast<unsigned char>(digits[0])))
      return std::nullopt;
    const std::string ended(digits);
    char* end = nullptr;
    if (ended.find_first_of("xX") != std::string::npos) return std::nullopt;
    number = std::strtod(ended.c_str(), &end);
    if (end != ended.c_str() + ended.size()) return std::nullopt;
  }
  return negative ? -number : number;
}

int64_t truncated(double number) {
  if (std::isnan(number)) throw Problem("cannot convert float NaN to integer");
  if (std::isinf(number)) throw Problem("cannot convert float infinity to integer");
  if (std::abs(number) >= 9.2e18) refuse_large();
  return static_cast<int64_t>(number);
}

Value rounded(const Value& number, int64_t digits) {
  if (number.is_integer()) return round_integer(number.integer(), digits);
  const double value = number.number();
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(value / unit) * unit;
  }
  // The decimal text is rounded exactly, so the nearest double to it is Python's.
  return std::strtod(fmt::format("{:.{}f}", value, digits).c_str(), nullptr);
}

}  // namespace collie::jinja
