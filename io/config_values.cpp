#include "io/config_values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "io/config_tree.hpp"

namespace collie::config {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

size_t count_digits(std::string_view text) {
  return static_cast<size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
}

void skip_sign(std::string_view& text) {
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) text.remove_prefix(1);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

// Says whether every YAML reader takes the text for the same text, quoted or not.
bool is_plain_safe(const std::string& text) {
  const auto is_safe = [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/';
  };
  if (text.empty() || !(std::isalpha(static_cast<unsigned char>(text.front())) || text.front() == '/'))
    return false;
  if (!std::all_of(text.begin(), text.end(), is_safe)) return false;
  return lower(text) != "null" && plain_meaning(text) == Node::Meaning::text && !is_almost_boolean(text) &&
         !is_not_finite(text) && lower(text) != "y" && lower(text) != "n";
}

}  // namespace

bool is_whole_number(std::string_view text) {
  skip_sign(text);
  return !text.empty() && count_digits(text) == text.size();
}

bool is_number(std::string_view text) {
  skip_sign(text);
  const size_t whole = count_digits(text);
  text.remove_prefix(whole);
  size_t fraction = 0;
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    fraction = count_digits(text);
    text.remove_prefix(fraction);
  }
  if (whole + fraction == 0) return false;
  if (text.empty()) return true;
  if (text.front() != 'e' && text.front() != 'E') return false;
  text.remove_prefix(1);
  skip_sign(text);
  return !text.empty() && count_digits(text) == text.size();
}

bool is_almost_boolean(std::string_view text) {
  const std::string word = lower(text);
  return word == "yes" || word == "no" || word == "on" || word == "off" || word == "true" || word == "false";
}

bool is_not_finite(std::string_view text) {
  skip_sign(text);
  std::string word = lower(text);
  if (!word.empty() && word.front() == '.') word.erase(0, 1);
  return word == "nan" || word == "inf" || word == "infinity";
}

std::string yaml_of(double number) {
  if (std::isnan(number)) return ".nan";
  if (std::isinf(number)) return number > 0 ? ".inf" : "-.inf";
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
  std::string text(buffer.data(), result.ptr);
  if (text.find('.') == std::string::npos) text.insert(std::min(text.find('e'), text.size()), ".0");
  return text;
}

std::string yaml_of(const std::string& text) {
  if (is_plain_safe(text)) return text;
  // A JSON text is a double-quoted YAML text.
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string yaml_of(const nlohmann::json& value) {
  if (value.is_string()) return yaml_of(value.get_ref<const std::string&>());
  if (value.is_number_float()) return yaml_of(value.get<double>());
  if (!value.is_structured()) return value.dump();
  std::string text;
  for (const auto& [key, item] : value.items()) {
    if (!text.empty()) text += ", ";
    if (value.is_object()) text += (key == "<<" ? "\"<<\"" : yaml_of(key)) + ": ";
    text += yaml_of(item);
  }
  return value.is_object() ? "{" + text + "}" : "[" + text + "]";
}

}  // namespace collie::config
