// FORMAT % VALUE, as Python has it.
#include <cmath>

#include "base/quote.hpp"
#include "io/jinja/access.hpp"
#include "io/jinja/format.hpp"
#include "io/jinja/format_spec.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"

namespace collie::jinja {

namespace {

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const std::string& format, const Value& value)
      : runtime_(runtime), format_(format), value_(value) {}

  std::string run() {
    std::string result;
    while (at_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', at_), format_.size());
      result.append(format_, at_, percent - at_);
      at_ = percent + 1;
      if (percent < format_.size()) result += conversion();
      if (result.size() > longest_text) throw Problem("a string of more than {} bytes is made", longest_text);
    }
    // Python takes what has items by key or index for a mapping, which may have more items than fields.
    const bool takes_rest = value_.is_dict() || value_.is_undefined() || value_.is(SequenceKind::list) ||
                            value_.is(SequenceKind::range);
    if (!takes_rest && next_ < (value_.is(SequenceKind::tuple) ? value_.sequence().items.size() : 1))
      throw Problem("not all arguments are converted by the format '{}'", shortened(format_));
    return result;
  }

 private:
  char peek() const {
    if (at_ >= format_.size()) throw Problem("the format '{}' ends inside a field", shortened(format_));
    return format_[at_];
  }

  Value next_value() {
    if (named_) return *named_;
    const bool is_tuple = value_.is(SequenceKind::tuple);
    const size_t index = next_++;
    if (index >= (is_tuple ? value_.sequence().items.size() : 1))
      throw Problem("the format '{}' has more fields than values", shortened(format_));
    return is_tuple ? value_.sequence().items[index] : value_;
  }

  void read_name() {
    named_.reset();
    if (peek() != '(') return;
    const size_t end = format_.find(')', at_);
    if (end == std::string::npos) throw Problem("the format '{}' ends inside a name", shortened(format_));
    if (!value_.is_dict())
      throw Problem("the format '{}' has names, so what follows % must be a dict", shortened(format_));
    const Value* found = value_.dict().find(std::string_view(format_).substr(at_ + 1, end - at_ - 1));
    if (found == nullptr) throw Problem("the dict lacks a name of the format '{}'", shortened(format_));
    named_ = *found;
    at_ = end + 1;
  }

  int64_t read_count() {
    if (peek() == '*') {
      ++at_;
      return integer_argument(next_value(), "a width given by *");
    }
    int64_t count = 0;
    for (; std::isdigit(static_cast<unsigned char>(peek())); ++at_) {
      count = count * 10 + (peek() - '0');
      if (count > widest_field) throw Problem("a width or precision is more than {}", widest_field);
    }
    return count;
  }

  FormatSpec read_spec() {
    FormatSpec spec;
    spec.align = '>';
    bool left = false, zero = false;
    for (;; ++at_) {
      if (peek() == '-')
        left = true;
      else if (peek() == '0')
        zero = true;
      else if (peek() == '+')
        spec.sign = '+';
      else if (peek() == ' ')
        spec.sign = spec.sign == '+' ? '+' : ' ';
      else if (peek() == '#')
        spec.alternate = true;
      else
        break;
    }
    spec.width = read_count();
    if (spec.width > widest_field || spec.width < -widest_field)
      throw Problem("a width is more than {}", widest_field);
    if (spec.width < 0) left = true;
    spec.width = std::abs(spec.width);
    if (peek() == '.') {
      ++at_;
      spec.precision = std::min<int64_t>(read_count(), widest_field);
    }
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++at_;
    if (left) spec.align = '<';
    if (zero && !left) {
      spec.fill = "0";
      spec.align = '=';
    }
    return spec;
  }

  std::string conversion() {
    read_name();
    FormatSpec spec = read_spec();
    const char type = format_[at_++];
    switch (type) {
      case '%':
        return "%";
      case 's':
        return as_text(text_of(runtime_, next_value()), spec);
      case 'r':
        return as_text(represented(runtime_, next_value()), spec);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return as_integer(next_value(), spec, type);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return as_float(next_value(), spec, type);
      case 'c':
        return as_character(next_value(), spec);
      default:
        throw Problem("the format '{}' has the type '{}', which is not supported", shortened(format_), type);
    }
  }

  std::string as_text(std::string text, FormatSpec spec) {
    if (spec.align == '=') spec.align = '>';
    spec.fill = " ";
    spec.sign = '-';
    return formatted(runtime_, Value(std::move(text)), spec);
  }

  std::string as_integer(const Value& value, FormatSpec spec, char type) {
    if (!defined(value).is_number() || (value.is_float() && type != 'd' && type != 'i' && type != 'u'))
      throw Problem("%{} gets a {}; it takes an int", type, value.type_name());
    if (spec.precision >= 0) throw Problem("%{} has a precision, which is not supported", type);
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    return formatted(runtime_, value.is_float() ? truncated(value.number()) : value.integer(), spec);
  }

  std::string as_float(const Value& value, FormatSpec spec, char type) {
    if (!defined(value).is_number())
      throw Problem("%{} gets a {}; it takes a number", type, value.type_name());
    spec.type = type;
    return formatted(runtime_, value.number(), spec);
  }

  std::string as_character(const Value& value, FormatSpec spec) {
    if (value.is_text() && value.text().length == 1) return as_text(value.bytes(), spec);
    if (!defined(value).is_integer())
      throw Problem("%c gets a {}; it takes an int or one character", value.type_name());
    FormatSpec character;
    character.type = 'c';
    return as_text(formatted(runtime_, value.integer(), character), spec);
  }

  Runtime& runtime_;
  const std::string& format_;
  const Value& value_;
  size_t at_ = 0;
  size_t next_ = 0;  // of the values
  std::optional<Value> named_;
};

}  // namespace

std::string percent_format(Runtime& runtime, const std::string& format, const Value& value) {
  runtime.charge_bytes(format.size());
  return PercentFormatter(runtime, format, value).run();
}

}  // namespace collie::jinja
