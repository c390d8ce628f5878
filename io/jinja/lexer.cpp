#include "io/jinja/lexer.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/quote.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/string_escapes.hpp"
#include "io/jinja/text.hpp"
#include "io/unicode.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

bool is_decimal_digit(char c) {
  return c >= '0' && c <= '9';
}

// \r\n and \r become \n; a last line break is dropped.
std::string with_plain_line_breaks(std::string_view source) {
  std::string result;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    result += source[i] == '\r' ? '\n' : source[i];
  }
  if (!result.empty() && result.back() == '\n') result.pop_back();
  return result;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) read_data();
    add(TokenType::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void refuse(std::string message) const { throw SyntaxError{line_, std::move(message)}; }

  bool next_is(std::string_view text) const { return source_.compare(at_, text.size(), text) == 0; }
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }

  void add(TokenType type, std::string text) { tokens_.push_back({type, std::move(text), line_}); }

  // Moves behind `count` bytes and counts their lines.
  void skip(size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at_ + count), '\n'));
    at_ += count;
  }

  // The end of the white space at `position`.
  size_t space_end(size_t position) const {
    const std::string_view rest = std::string_view(source_).substr(position);
    return position + rest.size() - strip(rest, std::nullopt, true, false).size();
  }

  // The text before a tag whose sign is `sign` (- + or none).
  std::string text_before(size_t begin, size_t end, char sign, bool is_variable) const {
    std::string_view text = std::string_view(source_).substr(begin, end - begin);
    if (sign == '-') return std::string(strip(text, std::nullopt, false, true));
    if (sign == '+' || is_variable) return std::string(text);
    const size_t line_start = text.rfind('\n') + 1;  // 0 if there is none
    if (line_start == 0 && !line_starting_) return std::string(text);
    const bool blank = strip(text.substr(line_start), std::nullopt, true, false).empty();
    return std::string(blank ? text.substr(0, line_start) : text);
  }

  // Reads text up to the next tag, and the tag.
  void read_data() {
    size_t tag = source_.find('{', at_);
    while (tag != std::string::npos &&
           (tag + 1 == source_.size() ||
            std::string_view("%{#").find(source_[tag + 1]) == std::string_view::npos))
      tag = source_.find('{', tag + 1);
    if (tag == std::string::npos) {
      add(TokenType::data, source_.substr(at_));
      skip(source_.size() - at_);
      return;
    }
    const char kind = source_[tag + 1];
    const char after = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const char sign = after == '-' || after == '+' ? after : '\0';
    const std::string text = text_before(at_, tag, sign, kind == '{');
    if (!text.empty()) add(TokenType::data, text);
    skip(tag - at_);
    line_starting_ = false;
    if (kind == '%' && begins_raw(sign)) return read_raw();
    skip(sign == '\0' ? 2 : 3);
    if (kind == '#') return read_comment();
    add(kind == '{' ? TokenType::variable_begin : TokenType::block_begin, "");
    read_tag(kind == '{');
  }

  // Whether {% raw %} is here; moves behind it.
  bool begins_raw(char sign) {
    size_t position = space_end(at_ + (sign == '\0' ? 2 : 3));
    if (source_.compare(position, 3, "raw") != 0) return false;
    position = space_end(position + 3);
    if (source_.compare(position, 3, "-%}") == 0)
      position = space_end(position + 3);
    else if (source_.compare(position, 2, "%}") == 0)
      position += 2;
    else
      return false;
    skip(position - at_);
    return true;
  }

  // The end of a tag END at `position`, with the white space that it takes; npos if it is not there. The sign
  // + keeps a line break, none takes one, and - takes all white space.
  size_t tag_end(size_t position, std::string_view end) const {
    const char sign = position < source_.size() ? source_[position] : '\0';
    const size_t start = sign == '-' || sign == '+' ? position + 1 : position;
    if (source_.compare(start, end.size(), end) != 0) return std::string::npos;
    const size_t behind = start + end.size();
    if (sign == '-') return space_end(behind);
    return sign != '+' && behind < source_.size() && source_[behind] == '\n' ? behind + 1 : behind;
  }

  void finish_tag(size_t end) {
    skip(end - at_);
    line_starting_ = source_[at_ - 1] == '\n';
  }

  void read_comment() {
    for (size_t at = source_.find('#', at_); at != std::string::npos; at = source_.find('#', at + 1)) {
      if (at + 1 >= source_.size() || source_[at + 1] != '}') continue;
      const bool has_sign = at > at_ && (source_[at - 1] == '-' || source_[at - 1] == '+');
      return finish_tag(tag_end(has_sign ? at - 1 : at, "#}"));
    }
    if (at_ == source_.size()) return;  // as Jinja2, which looks for the end only where there is a comment
    refuse("a comment has no end; '#}' is missing");
  }

  void read_raw() {
    for (size_t at = source_.find("{%", at_); at != std::string::npos; at = source_.find("{%", at + 2)) {
      const char after = at + 2 < source_.size() ? source_[at + 2] : '\0';
      const char sign = after == '-' || after == '+' ? after : '\0';
      const size_t word = space_end(at + (sign == '\0' ? 2 : 3));
      if (source_.compare(word, 6, "endraw") != 0) continue;
      const size_t end = tag_end(space_end(word + 6), "%}");
      if (end == std::string::npos) continue;
      const std::string text = text_before(at_, at, sign, false);
      if (!text.empty()) add(TokenType::data, text);
      return finish_tag(end);
    }
    if (at_ == source_.size()) return;
    refuse("a raw block has no end; '{% endraw %}' is missing");
  }

  // Reads what stands in {{ ... }} or {% ... %}.
  void read_tag(bool is_variable) {
    const int first_line = line_;
    open_.clear();
    for (;;) {
      skip(space_end(at_) - at_);
      if (at_ >= source_.size()) {
        line_ = first_line;
        refuse(is_variable ? "'}}' is missing" : "'%}' is missing");
      }
      if (open_.empty() && ends_tag(is_variable)) return;
      read_token();
    }
  }

  bool ends_tag(bool is_variable) {
    size_t end = std::string::npos;
    if (!is_variable)
      end = tag_end(at_, "%}");
    else if (next_is("}}"))
      end = at_ + 2;
    else if (next_is("-}}"))
      end = space_end(at_ + 3);
    if (end == std::string::npos) return false;
    add(is_variable ? TokenType::variable_end : TokenType::block_end, "");
    finish_tag(end);
    return true;
  }

  void read_token() {
    const char c = peek();
    size_t position = at_;
    const char32_t first = next_code_point(source_, position);
    if (is_decimal_digit(c)) return read_number();
    if (c == '\'' || c == '"') return read_string(c);
    if (c == '_' || is_python_alphanumeric(first)) return read_name();
    read_symbol();
  }

  // The end of digits with single "_" between them.
  size_t digits_end(size_t position) const {
    while (position < source_.size() && (is_decimal_digit(source_[position]) ||
                                         (source_[position] == '_' && position + 1 < source_.size() &&
                                          is_decimal_digit(source_[position + 1]))))
      ++position;
    return position;
  }

  bool digit_at(size_t position) const {
    return position < source_.size() && is_decimal_digit(source_[position]);
  }

  // The end of the float at the current place; its start if there is none.
  size_t float_end() const {
    if (at_ > 0 && source_[at_ - 1] == '.') return at_;
    const size_t whole = digits_end(at_);
    size_t end = whole;
    if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) end = digits_end(end + 1);
    if (end < source_.size() && (source_[end] | 0x20) == 'e') {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      if (digit_at(exponent)) return digits_end(exponent);
    }
    return end == whole ? at_ : end;
  }

  std::string take_number(size_t end) {
    std::string text = source_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    skip(end - at_);
    return text;
  }

  void read_number() {
    if (const size_t end = float_end(); end != at_) {
      add(TokenType::real, "");
      tokens_.back().real = std::strtod(take_number(end).c_str(), nullptr);
      return;
    }
    size_t end = digits_end(at_);
    if (peek() == '0' && std::string_view("xXoObB").find(peek(1)) != std::string_view::npos &&
        peek(1) != '\0') {
      end = at_ + 2;
      while (end < source_.size() &&
             (std::isxdigit(static_cast<unsigned char>(source_[end])) || source_[end] == '_'))
        ++end;
    }
    add(TokenType::integer, "");
    const std::string digits = take_number(end);
    if (digits.size() > 1 && digits.find_first_not_of('0') != std::string::npos && digits[0] == '0' &&
        is_decimal_digit(digits[1]))
      refuse("the number " + shortened(digits) + " begins with 0");
    try {
      const auto number = parse_python_integer(digits, 0);
      if (!number) refuse("'" + shortened(digits) + "' is no number");
      tokens_.back().integer = *number;
    } catch (const Problem& problem) {
      refuse(problem.what());
    }
  }

  void read_string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) refuse(std::string("a string has no end; ") + quote + " is missing");
    try {
      add(TokenType::string, unescaped(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    } catch (const Problem& problem) {
      refuse(problem.what());
    }
    skip(end + 1 - at_);
  }

  void read_name() {
    size_t end = at_;
    while (end < source_.size()) {
      size_t next = end;
      const char32_t c = next_code_point(source_, next);
      if (c != '_' && !is_word_character(c)) break;
      end = next;
    }
    if (end == at_) refuse("a name begins with a character that names do not have");
    add(TokenType::name, source_.substr(at_, end - at_));
    skip(end - at_);
  }

  void read_symbol() {
    constexpr std::string_view doubles[] = {"**", "//", "==", "!=", ">=", "<="};
    size_t length =
        std::any_of(std::begin(doubles), std::end(doubles), [&](auto symbol) { return next_is(symbol); }) ? 2
                                                                                                          : 1;
    const std::string symbol = source_.substr(at_, length);
    if (length == 1 && std::string_view("+-/*%~[](){}><=.:|,;").find(symbol) == std::string_view::npos) {
      size_t end = at_;
      next_code_point(source_, end);
      refuse("the character '" + source_.substr(at_, end - at_) + "' is not part of the language");
    }
    balance(symbol);
    add(TokenType::symbol, symbol);
    skip(length);
  }

  void balance(const std::string& symbol) {
    if (symbol == "(") open_ += ')';
    if (symbol == "[") open_ += ']';
    if (symbol == "{") open_ += '}';
    if (symbol != ")" && symbol != "]" && symbol != "}") return;
    if (open_.empty()) refuse("'" + symbol + "' closes nothing");
    if (open_.back() != symbol[0])
      refuse("'" + symbol + "' is found where '" + open_.back() + "' would be right");
    open_.pop_back();
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last tag took its line's end
  std::string open_;           // the brackets that close what is open, the innermost last
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(with_plain_line_breaks(source)).run();
}

}  // namespace collie::jinja
