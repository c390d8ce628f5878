#include "io/jinja/text.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

#include "io/jinja/limits.hpp"
#include "io/jinja/problem.hpp"
#include "io/unicode.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

bool in_set(std::string_view character, const std::optional<std::string>& set) {
  if (set) return !character.empty() && set->find(character) != std::string::npos;
  size_t position = 0;
  return is_python_space(next_code_point(character, position));
}

std::vector<std::string_view> reversed(std::vector<std::string_view> parts) {
  std::reverse(parts.begin(), parts.end());
  return parts;
}

// The end of the run of characters from `position` that are white space, or are none.
size_t run_end(std::string_view text, size_t position, bool space) {
  while (position < text.size()) {
    size_t next = position;
    if (is_python_space(next_code_point(text, next)) != space) break;
    position = next;
  }
  return position;
}

size_t run_start(std::string_view text, size_t position, bool space) {
  while (position > 0) {
    const size_t before = previous_code_point(text, position);
    size_t at = before;
    if (is_python_space(next_code_point(text, at)) != space) break;
    position = before;
  }
  return position;
}

std::vector<std::string_view> split_at_space_from_right(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  size_t end = run_start(text, text.size(), true);
  for (; end > 0; --most) {
    const size_t start = most == 0 ? 0 : run_start(text, end, false);
    parts.push_back(text.substr(start, end - start));
    end = run_start(text, start, true);
  }
  return reversed(std::move(parts));
}

std::vector<std::string_view> split_at_from_right(std::string_view text, std::string_view separator,
                                                  int64_t most) {
  std::vector<std::string_view> parts;
  for (; most != 0; --most) {
    const size_t at = text.rfind(separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  parts.push_back(text);
  return reversed(std::move(parts));
}

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

void check_length(size_t size, size_t times, size_t other) {
  if (times > 0 && (size > longest_text / times || size * times + other > longest_text))
    throw Problem("a string of more than {} bytes is made", longest_text);
}

}  // namespace

bool is_python_space(char32_t c) {
  return is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

bool is_python_printable(char32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_python_alphanumeric(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
         category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

size_t offset_of(const Text& text, int64_t position) {
  if (text.is_ascii()) return static_cast<size_t>(position);
  size_t offset = 0;
  for (; position > 0; --position) next_code_point(text.bytes, offset);
  return offset;
}

std::string_view part_of(const Text& text, int64_t begin, int64_t end) {
  if (begin >= end) return {};
  const size_t first = offset_of(text, begin), last = offset_of(text, end);
  return std::string_view(text.bytes).substr(first, last - first);
}

std::string_view strip(std::string_view text, const std::optional<std::string>& set, bool left, bool right) {
  while (left && !text.empty()) {
    size_t next = 0;
    next_code_point(text, next);
    if (!in_set(text.substr(0, next), set)) break;
    text.remove_prefix(next);
  }
  while (right && !text.empty()) {
    const size_t last = previous_code_point(text, text.size());
    if (!in_set(text.substr(last), set)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::vector<std::string_view> split_at_space(std::string_view text, int64_t most, bool from_right) {
  if (from_right) return split_at_space_from_right(text, most);
  std::vector<std::string_view> parts;
  size_t start = run_end(text, 0, true);
  for (; start < text.size(); --most) {
    const size_t end = most == 0 ? text.size() : run_end(text, start, false);
    parts.push_back(text.substr(start, end - start));
    start = run_end(text, end, true);
  }
  return parts;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, int64_t most,
                                       bool from_right) {
  if (from_right) return split_at_from_right(text, separator, most);
  std::vector<std::string_view> parts;
  for (; most != 0; --most) {
    const size_t at = find_text(text, separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t position = 0; position < text.size();) {
    const size_t end = position;
    const char32_t c = next_code_point(text, position);
    if (!is_line_end(c)) continue;
    if (c == '\r' && position < text.size() && text[position] == '\n') ++position;
    lines.push_back(text.substr(start, (keep_ends ? position : end) - start));
    start = position;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

size_t find_text(std::string_view text, std::string_view wanted, size_t start) {
  if (start > text.size()) return std::string_view::npos;
  if (wanted.empty()) return start;
  const void* at = ::memmem(text.data() + start, text.size() - start, wanted.data(), wanted.size());
  return at == nullptr ? std::string_view::npos
                       : static_cast<size_t>(static_cast<const char*>(at) - text.data());
}

std::string replace_text(std::string_view text, std::string_view old, std::string_view by, int64_t most) {
  std::string result;
  size_t position = 0;
  const auto add = [&](std::string_view part) {
    check_length(result.size(), 1, part.size());
    result += part;
  };
  for (; most != 0; --most) {
    // An empty text is found before each character and at the end.
    const size_t at = old.empty() ? position : find_text(text, old, position);
    if (at == std::string_view::npos) break;
    add(text.substr(position, at - position));
    add(by);
    position = at + old.size();
    if (!old.empty()) continue;
    if (position == text.size()) break;
    const size_t start = position;
    next_code_point(text, position);
    add(text.substr(start, position - start));
  }
  if (position < text.size()) add(text.substr(position));
  return result;
}

std::string repeat_text(std::string_view text, int64_t times) {
  std::string result;
  if (times <= 0) return result;
  check_length(text.size(), static_cast<size_t>(times), 0);
  if (text.empty()) return result;
  result.reserve(text.size() * static_cast<size_t>(times));
  for (int64_t i = 0; i < times; ++i) result += text;
  return result;
}

}  // namespace collie::jinja
