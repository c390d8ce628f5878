// Reads and prints single values of the configuration. For the implementation of io/config.hpp only.
#pragma once

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace collie::config {

bool is_whole_number(std::string_view text);  // [-+]digits
bool is_number(std::string_view text);  // a whole number, or one with point or exponent; not NaN, infinity
bool is_almost_boolean(std::string_view text);  // yes, no, on, off in any case; True, FALSE, ...
bool is_not_finite(std::string_view text);      // .nan, .inf, nan, infinity, ... in any case

// The number that the whole of `text` is, or nothing if it is no number or does not fit into T.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  if (!is_number(text)) return std::nullopt;
  if (text.front() == '+') text.remove_prefix(1);
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// YAML on one line that reads back as the very same value. Numbers have a point, so that they stay doubles
// (also for YAML 1.1 readers, which take 3e-4 for a text).
std::string yaml_of(double number);
std::string yaml_of(const std::string& text);
std::string yaml_of(const nlohmann::json& value);

}  // namespace collie::config
