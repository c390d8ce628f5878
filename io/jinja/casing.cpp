// Upper, lower and title case, as Python's str has them.
#include <utf8proc.h>

#include "io/jinja/special_casing.hpp"
#include "io/jinja/text.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

bool is_cased(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT || (c >= 0x2160 && c <= 0x217F) || (c >= 0x24B6 && c <= 0x24E9) ||
         c == 0xAA || c == 0xBA || (c >= 0x2B0 && c <= 0x2B8) || c == 0x2C0 || c == 0x2C1 ||
         (c >= 0x2E0 && c <= 0x2E4) || c == 0x345 || c == 0x37A || (c >= 0x1D2C && c <= 0x1D6A) ||
         c == 0x1D78 || (c >= 0x1D9B && c <= 0x1DBF) || c == 0x2071 || c == 0x207F ||
         (c >= 0x2090 && c <= 0x209C);
}

bool is_case_ignorable(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x387 || c == 0x55F || c == 0x5F4 ||
             c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027 || c == 0xFE13 || c == 0xFE52 ||
             c == 0xFE55 || c == 0xFF07 || c == 0xFF0E || c == 0xFF1A;
  }
}

// Whether a sigma before `end` of `text` and after `start` is the last letter of its word (Final_Sigma of
// Unicode).
bool is_final_sigma(std::string_view text, size_t start, size_t end) {
  bool letter_before = false;
  while (start > 0) {
    start = previous_code_point(text, start);
    size_t at = start;
    const char32_t c = next_code_point(text, at);
    if (is_case_ignorable(c)) continue;
    letter_before = is_cased(c);
    break;
  }
  if (!letter_before) return false;
  while (end < text.size()) {
    const char32_t c = next_code_point(text, end);
    if (!is_case_ignorable(c)) return !is_cased(c);
  }
  return true;
}

void append_upper(std::string& result, char32_t c) {
  if (const auto special = special_upper_case(c); !special.empty())
    result += special;
  else
    append_utf8(result, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

void append_title(std::string& result, char32_t c) {
  if (const auto special = special_title_case(c); !special.empty())
    result += special;
  else
    append_utf8(result, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
}

// The character of `text` from `start` to `end`.
void append_lower(std::string& result, std::string_view text, size_t start, size_t end) {
  size_t at = start;
  const char32_t c = next_code_point(text, at);
  if (c == 0x130)
    result += "i\xCC\x87";
  else if (c == 0x3A3)
    append_utf8(result, is_final_sigma(text, start, end) ? 0x3C2 : 0x3C3);
  else
    append_utf8(result, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

// Calls append(code point, start, end) for each character.
template <class Append>
void for_each_character(std::string_view text, Append append) {
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = next_code_point(text, position);
    append(c, start, position);
  }
}

}  // namespace

std::string upper_case(std::string_view text) {
  std::string result;
  for_each_character(text, [&](char32_t c, size_t, size_t) { append_upper(result, c); });
  return result;
}

std::string lower_case(std::string_view text) {
  std::string result;
  for_each_character(text,
                     [&](char32_t, size_t start, size_t end) { append_lower(result, text, start, end); });
  return result;
}

std::string title_case(std::string_view text) {
  std::string result;
  bool in_word = false;
  for_each_character(text, [&](char32_t c, size_t start, size_t end) {
    if (in_word)
      append_lower(result, text, start, end);
    else
      append_title(result, c);
    in_word = is_cased(c);
  });
  return result;
}

std::string capitalized(std::string_view text) {
  std::string result;
  for_each_character(text, [&](char32_t c, size_t start, size_t end) {
    if (start == 0)
      append_title(result, c);
    else
      append_lower(result, text, start, end);
  });
  return result;
}

std::string swap_case(std::string_view text) {
  std::string result;
  for_each_character(text, [&](char32_t c, size_t start, size_t end) {
    if (utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_LU)
      append_lower(result, text, start, end);
    else if (utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_LL)
      append_upper(result, c);
    else
      append_utf8(result, c);
  });
  return result;
}

}  // namespace collie::jinja
