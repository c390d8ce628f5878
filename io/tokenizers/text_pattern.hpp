// The patterns of a tokenizer.json: {"String": "..."} is literal, {"Regex": "..."} a regular expression.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/tokenizers/aligned_text.hpp"
#include "io/tokenizers/json_place.hpp"

namespace collie {

// A part of a text that matches, or one between matches. An empty match has a part, too.
struct PatternPart {
  TextRange range;
  bool matches = false;
};

class TextPattern {
 public:
  virtual ~TextPattern() = default;
  // The parts of `text` (valid UTF-8), which together are all of it. Throws UserError if the regular
  // expression takes more steps than are allowed (10 million per match attempt).
  virtual void find(std::string_view text, std::vector<PatternPart>& parts) const = 0;
};

std::unique_ptr<TextPattern> literal_pattern(std::string text);

// Oniguruma's Ruby syntax, as the `tokenizers` library compiles it, with its Unicode meaning of \s, \w and
// \d. What it means differently from PCRE2, which runs here, is translated or refused. `place` is for
// messages.
std::unique_ptr<TextPattern> regular_expression(const std::string& pattern, const JsonPlace& place);

// Reads the member "pattern" of a component.
std::unique_ptr<TextPattern> read_pattern(const JsonPlace& description);

}  // namespace collie
