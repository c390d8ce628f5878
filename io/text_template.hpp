// Texts with the values of a record in them: "Question: {question}\nAnswer:".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/json_records.hpp"

namespace collie {

// {KEY} stands for the record's value of KEY: a text as it is, a number or true and false as JSON has them.
// {{ and }} are braces.
class TextTemplate {
 public:
  // Throws UserError that begins with `place` for a brace that is not closed or not opened, or {} without a
  // key.
  TextTemplate(std::string_view text, const std::string& place);
  // The same, but a text without braces is the name of a key.
  static TextTemplate of_key_or_text(const std::string& text, const std::string& place);

  // Throws UserError naming the record's place and the key, if it is missing, null, a list or an object.
  std::string fill(const JsonRecord& record) const;

 private:
  struct Part {
    std::string text;  // before the key
    std::string key;   // empty: there is none
  };
  TextTemplate() = default;

  std::vector<Part> parts_;
};

// The text that a value stands for in a template. Throws UserError.
std::string text_of_value(const JsonRecord& record, const std::string& key);

}  // namespace collie
