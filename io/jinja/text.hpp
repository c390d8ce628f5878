// Python's functions of strings, on UTF-8. Positions are code points.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/jinja/value.hpp"

namespace collie::jinja {

bool is_python_space(char32_t code_point);         // str.isspace
bool is_python_printable(char32_t code_point);     // str.isprintable
bool is_python_alphanumeric(char32_t code_point);  // str.isalnum

// The offset of a code point, 0 <= `position` <= length.
size_t offset_of(const Text& text, int64_t position);
// Code points from `begin` to `end`.
std::string_view part_of(const Text& text, int64_t begin, int64_t end);

// str.strip: the characters of `set`, or white space.
std::string_view strip(std::string_view text, const std::optional<std::string>& set, bool left, bool right);
// str.split and str.rsplit at white space, at most `most` cuts (-1: all).
std::vector<std::string_view> split_at_space(std::string_view text, int64_t most, bool from_right);
// The same at `separator`, which is not empty.
std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, int64_t most,
                                       bool from_right);
// str.splitlines.
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);
// str.replace, at most `most` times (-1: all). Throws Problem if the result is too long.
std::string replace_text(std::string_view text, std::string_view old, std::string_view by, int64_t most);
// The offset of `wanted` from `start`, or npos. Takes linear time.
size_t find_text(std::string_view text, std::string_view wanted, size_t start = 0);

std::string repeat_text(std::string_view text, int64_t times);  // throws Problem if the result is too long

// str.upper, lower, title and capitalize, with Unicode's special cases.
std::string upper_case(std::string_view text);
std::string lower_case(std::string_view text);
std::string title_case(std::string_view text);
std::string capitalized(std::string_view text);
std::string swap_case(std::string_view text);

}  // namespace collie::jinja
