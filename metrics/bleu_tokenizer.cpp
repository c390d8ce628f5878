#include "metrics/bleu_tokenizer.hpp"

#include <utf8proc.h>

#include "base/error.hpp"
#include "io/unicode.hpp"
#include "io/utf8.hpp"
#include "metrics/ngrams.hpp"

namespace collie {
namespace {

void replace_all(std::string& text, std::string_view old, std::string_view by) {
  for (size_t at = text.find(old); at != std::string::npos; at = text.find(old, at + by.size()))
    text.replace(at, old.size(), by);
}

// What `of` says of the first and the second of two neighbours. A pair is not looked at again: the next one
// begins behind it.
template <class Character>
struct PairRule {
  bool (*of_first)(Character);
  bool (*of_second)(Character);
  bool space_before_first, space_behind_second;  // beside the one between the two
};

template <class String, class Character>
String with_spaces(const String& text, const PairRule<Character>& rule) {
  String result;
  result.reserve(2 * text.size());
  const auto space = static_cast<Character>(' ');
  for (size_t i = 0; i < text.size(); ++i) {
    if (i + 1 == text.size() || !rule.of_first(text[i]) || !rule.of_second(text[i + 1])) {
      result += text[i];
      continue;
    }
    if (rule.space_before_first) result += space;
    result += text[i];
    result += space;
    result += text[++i];
    if (rule.space_behind_second) result += space;
  }
  return result;
}

template <class String, class Character>
String with_spaces_around(const String& text, bool (*alone)(Character)) {
  String result;
  result.reserve(2 * text.size());
  const auto space = static_cast<Character>(' ');
  for (const auto each : text) {
    if (alone(each)) result += space;
    result += each;
    if (alone(each)) result += space;
  }
  return result;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_no_digit(char c) {
  return !is_digit(c);
}

bool is_point_or_comma(char c) {
  return c == '.' || c == ',';
}

bool is_hyphen(char c) {
  return c == '-';
}

// ASCII's punctuation and symbols but for the apostrophe, the comma, the hyphen and the point.
bool is_separate_sign(char c) {
  return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// Rules look at ASCII alone, so bytes do for characters.
std::string cut_as_13a(std::string_view given) {
  std::string text(given);
  replace_all(text, "<skipped>", "");
  replace_all(text, "-\n", "");
  replace_all(text, "\n", " ");
  replace_all(text, "&quot;", "\"");
  replace_all(text, "&amp;", "&");
  replace_all(text, "&lt;", "<");
  replace_all(text, "&gt;", ">");
  text = " " + text + " ";
  text = with_spaces_around<std::string, char>(text, is_separate_sign);
  text = with_spaces<std::string, char>(text, {is_no_digit, is_point_or_comma, false, true});
  text = with_spaces<std::string, char>(text, {is_point_or_comma, is_no_digit, true, false});
  return with_spaces<std::string, char>(text, {is_digit, is_hyphen, false, true});
}

utf8proc_category_t category_of(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_no_number(char32_t c) {
  return !is_numeric(c);
}

bool is_punctuation_mark(char32_t c) {
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool is_symbol(char32_t c) {
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_SM && category <= UTF8PROC_CATEGORY_SO;
}

std::u32string code_points_of(std::string_view text) {
  std::u32string all;
  for (size_t position = 0; position < text.size();) all += next_code_point(text, position);
  return all;
}

std::string cut_as_intl(std::string_view given) {
  std::u32string text = code_points_of(given);
  text = with_spaces<std::u32string, char32_t>(text, {is_no_number, is_punctuation_mark, false, true});
  text = with_spaces<std::u32string, char32_t>(text, {is_punctuation_mark, is_no_number, true, false});
  text = with_spaces_around<std::u32string, char32_t>(text, is_symbol);
  std::string result;
  for (const char32_t c : text) append_utf8(result, c);
  return result;
}

std::string cut_as_char(std::string_view text) {
  std::string result;
  for (const std::string_view character : characters_of(text)) {
    result += character;
    result += ' ';
  }
  return result;
}

std::string cut_as_none(std::string_view text) {
  return std::string(text);
}

}  // namespace

BleuTokenizer bleu_tokenizer(const std::string& name) {
  if (name == "13a") return cut_as_13a;
  if (name == "intl") return cut_as_intl;
  if (name == "char") return cut_as_char;
  COLLIE_ASSERT(name == "none", "unknown tokenizer of BLEU '{}'", name);
  return cut_as_none;
}

}  // namespace collie
