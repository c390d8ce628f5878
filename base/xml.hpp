// Escapes text for use inside XML (SVG).
#pragma once

#include <string>
#include <string_view>

namespace collie {

// Replaces the four characters that have a meaning in XML by entities. The result is also valid in
// double-quoted attributes.
inline std::string xml_escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '"')
      result += "&quot;";
    else
      result += c;
  }
  return result;
}

}  // namespace collie
