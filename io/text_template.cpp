#include "io/text_template.hpp"

#include <utility>

#include "base/error.hpp"
#include "base/quote.hpp"

namespace collie {

TextTemplate::TextTemplate(std::string_view text, const std::string& place) {
  Part part;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      part.text += c;
      continue;
    }
    if (at + 1 < text.size() && text[at + 1] == c) {
      part.text += c;
      ++at;
      continue;
    }
    const size_t end = text.find('}', at);
    if (c == '}' || end == std::string_view::npos || end == at + 1)
      throw UserError("{}: found '{}' in '{}'; {{KEY}} is wanted, and {{{{ or }}}} for a brace itself", place,
                      c == '{' && end == at + 1 ? "{}" : std::string(1, c), shortened(std::string(text)));
    part.key = text.substr(at + 1, end - at - 1);
    parts_.push_back(std::exchange(part, {}));
    at = end;
  }
  if (!part.text.empty()) parts_.push_back(std::move(part));
}

TextTemplate TextTemplate::of_key_or_text(const std::string& text, const std::string& place) {
  if (text.find_first_of("{}") != std::string::npos) return TextTemplate(text, place);
  TextTemplate key;
  key.parts_.push_back({"", text});
  return key;
}

std::string TextTemplate::fill(const JsonRecord& record) const {
  std::string text;
  for (const Part& part : parts_) {
    text += part.text;
    if (!part.key.empty()) text += text_of_value(record, part.key);
  }
  return text;
}

std::string text_of_value(const JsonRecord& record, const std::string& key) {
  const nlohmann::ordered_json& value = record.at(key);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  throw UserError("{}: key '{}' must be a text, a number, true or false, not {}", record.place(),
                  shortened(key), value.type_name());
}

}  // namespace collie
