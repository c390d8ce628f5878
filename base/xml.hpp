// Text inside of XML (SVG).
#pragma once

#include <string>
#include <string_view>

namespace collie {

// With the four characters that mean something there as entities; good for attributes in double quotes too.
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
