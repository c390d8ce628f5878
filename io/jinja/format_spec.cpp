#include "io/jinja/format_spec.hpp"

#include <algorithm>
#include <cmath>

#include "io/jinja/limits.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/text.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

constexpr std::string_view alignments = "<>^=";

bool is_align(char c) {
  return alignments.find(c) != std::string_view::npos;
}

int64_t read_count(std::string_view text, size_t& at) {
  int64_t count = 0;
  for (; at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])); ++at) {
    count = count * 10 + (text[at] - '0');
    if (count > widest_field) throw Problem("a width or precision is more than {}", widest_field);
  }
  return count;
}

void read_alignment(std::string_view text, size_t& at, FormatSpec& spec) {
  size_t second = 0;
  if (!text.empty()) next_code_point(text, second);
  if (second > 0 && second < text.size() && is_align(text[second])) {
    spec.fill = text.substr(0, second);
    spec.align = text[second];
    at = second + 1;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[0];
    at = 1;
  }
}

std::string grouped(std::string_view digits, char separator, size_t every) {
  std::string result;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % every == 0) result += separator;
    result += digits[i];
  }
  return result;
}

// Puts the sign, the prefix and the separators to the digits of a number.
std::string dressed(std::string digits, bool negative, std::string_view prefix, const FormatSpec& spec,
                    size_t every) {
  if (spec.grouping != 0) {
    const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
    const size_t end = spec.type == 'x' || spec.type == 'X'
                           ? whole
                           : std::min(digits.find_first_not_of("0123456789"), digits.size());
    if (end > 0)
      digits = grouped(std::string_view(digits).substr(0, end), spec.grouping, every) + digits.substr(end);
  }
  std::string front = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  front += prefix;
  if (spec.align != '=') return padded(front + digits, spec, '>');
  if (spec.grouping != 0 && spec.fill == "0" &&
      static_cast<int64_t>(front.size() + digits.size()) < spec.width)
    throw Problem("a number has leading zeros and separators of thousands, which is not supported");
  FormatSpec inner = spec;
  inner.align = '>';
  inner.width = spec.width - static_cast<int64_t>(front.size());
  return front + padded(std::move(digits), inner, '>');
}

std::string format_integer(int64_t number, const FormatSpec& spec) {
  const uint64_t size = number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
  if (spec.precision >= 0) throw Problem("a precision is not allowed for an int");
  switch (spec.type) {
    case 'x':
      return dressed(fmt::format("{:x}", size), number < 0, spec.alternate ? "0x" : "", spec, 4);
    case 'X':
      return dressed(fmt::format("{:X}", size), number < 0, spec.alternate ? "0X" : "", spec, 4);
    case 'o':
      return dressed(fmt::format("{:o}", size), number < 0, spec.alternate ? "0o" : "", spec, 4);
    case 'b':
      return dressed(fmt::format("{:b}", size), number < 0, spec.alternate ? "0b" : "", spec, 4);
    case 'c': {
      std::string text;
      if (number < 0 || number > 0x10FFFF || (number >= 0xD800 && number < 0xE000))
        throw Problem("{} is no character", number);
      append_utf8(text, static_cast<char32_t>(number));
      return padded(text, spec, '<');
    }
    default:
      return dressed(fmt::format("{}", size), number < 0, "", spec, 3);
  }
}

std::string format_float(double number, const FormatSpec& spec) {
  std::string digits;
  if (spec.type == '%') {
    digits = float_digits(number * 100, 'f', spec.precision, spec.alternate) + "%";
  } else if (spec.type != 0 || spec.precision >= 0) {
    if (spec.type == 0) throw Problem("a float is formatted with a precision and no type; write 'f' or 'g'");
    digits = float_digits(number, spec.type, spec.precision, spec.alternate);
  } else {
    digits = float_text(number);
  }
  const bool negative = digits[0] == '-';
  if (negative) digits.erase(0, 1);
  return dressed(std::move(digits), negative, "", spec, 3);
}

std::string format_text(const Value& value, const FormatSpec& spec) {
  if ((spec.type != 0 && spec.type != 's') || spec.align == '=' || spec.sign != '-' || spec.grouping != 0)
    throw Problem("a str is formatted like a number");
  const Text& text = value.text();
  const bool cut = spec.precision >= 0 && spec.precision < text.length;
  return padded(std::string(cut ? part_of(text, 0, spec.precision) : std::string_view(text.bytes)), spec,
                '<');
}

}  // namespace

FormatSpec parse_format_spec(std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  read_alignment(text, at, spec);
  const auto take = [&](std::string_view of) -> char {
    return at < text.size() && of.find(text[at]) != std::string_view::npos ? text[at++] : '\0';
  };
  if (const char sign = take("+- ")) spec.sign = sign;
  spec.alternate = take("#") != 0;
  if (take("0") != 0 && spec.align == 0) {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = read_count(text, at);
  spec.grouping = take(",_");
  if (take(".") != 0) spec.precision = read_count(text, at);
  spec.type = take("bcdeEfFgGnosxX%");
  if (at != text.size() || spec.type == 'n')
    throw Problem("the format specification '{}' is not supported", text);
  return spec;
}

std::string padded(std::string text, const FormatSpec& spec, char align) {
  const Value value(text);
  const int64_t missing = spec.width - value.text().length;
  if (missing <= 0) return text;
  if (spec.align != 0) align = spec.align;
  const int64_t left = align == '>' || align == '=' ? missing : align == '^' ? missing / 2 : 0;
  return repeat_text(spec.fill, left) + text + repeat_text(spec.fill, missing - left);
}

std::string float_digits(double number, char type, int64_t precision, bool alternate) {
  if (precision < 0) precision = 6;
  const std::string width = fmt::format("{{:{}.{}{}}}", alternate ? "#" : "", precision, type);
  std::string digits = fmt::format(fmt::runtime(width), number);
  return digits;
}

std::string formatted(Runtime& runtime, const Value& value, const FormatSpec& spec) {
  if (value.is_text()) return format_text(value, spec);
  const bool of_float =
      std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos && spec.type != 0;
  if (value.is_float() || (value.is_integer() && of_float)) {
    if (spec.type != 0 && !of_float)
      throw Problem("a float is formatted with the type '{}' of an int", spec.type);
    return format_float(value.number(), spec);
  }
  const bool plain =
      spec.width == 0 && spec.precision < 0 && spec.type == 0 && spec.grouping == 0 && spec.align == 0;
  if (value.is_bool() && plain) return text_of(runtime, value);
  if (value.is_integer()) {
    if (spec.type == 's') throw Problem("an int is formatted with the type 's' of a str");
    return format_integer(value.integer(), spec);
  }
  if (!plain)
    throw Problem("a {} is formatted with a width or type, which it does not take", value.type_name());
  return text_of(runtime, value);
}

}  // namespace collie::jinja
